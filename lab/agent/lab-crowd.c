// SPDX-License-Identifier: GPL-2.0-only
/*
 * lab-crowd files|messages THREADS MS
 *
 * Threads that crowd the kernel's own locks for so long, and what they did, as `name: value`
 * lines: count, ns, fewest and most of a thread, exact (1: nothing was lost or there twice).
 *
 *	files     dup and close on one file table: one spinlock
 *	messages  half of them send to the other half, each to each, by a socket of each
 *	          receiver's, as hackbench does: run queues, wait queues, memory
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST 64
#define FILES 4096

static struct crowd {
	pthread_t thread;
	unsigned long long count; /* what it did */
	unsigned long long sum;	  /* of what it sent or received */
	unsigned int faults;
	int in, out; /* a receiver's socket */
} crowd[MOST] __attribute__((aligned(128)));
static atomic_int stop;
static atomic_int owned[FILES]; /* by number: somebody has it open */
static int threads, receivers;

static void die(const char *what)
{
	fprintf(stderr, "lab-crowd: %s: %s\n", what, strerror(errno));
	exit(1);
}

static unsigned long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void *files(void *data)
{
	struct crowd *self = data;

	while (!stop) {
		int file = dup(0);

		if (file < 0 || file >= FILES)
			die("dup");
		self->faults += atomic_exchange(&owned[file], 1) != 0;
		atomic_store(&owned[file], 0);
		if (close(file))
			self->faults++;
		self->count++;
	}
	return NULL;
}

static void *sends(void *data)
{
	struct crowd *self = data;
	unsigned long long piece[8] = {};
	int to;

	while (!stop) {
		for (to = 0; to < receivers; to++) {
			piece[0] = ++self->count;
			if (write(crowd[to].out, piece, sizeof(piece)) != sizeof(piece))
				die("write");
			self->sum += piece[0];
		}
	}
	return NULL;
}

static void *receives(void *data)
{
	struct crowd *self = data;
	unsigned long long piece[8];
	ssize_t size;

	while ((size = read(self->in, piece, sizeof(piece))) > 0) {
		self->faults += size != sizeof(piece);
		self->sum += piece[0];
		self->count++;
	}
	return NULL;
}

static int open_files(void)
{
	int file, count = 0;

	for (file = 0; file < FILES; file++)
		count += fcntl(file, F_GETFD) >= 0;
	return count;
}

int main(int argc, char **argv)
{
	unsigned long long begin, ns, count = 0, sent = 0, came = 0, fewest = ~0ull, most = 0;
	unsigned int faults = 0;
	unsigned long long counted = 0;
	int i, before, messages;

	if (argc != 4 || (strcmp(argv[1], "files") && strcmp(argv[1], "messages"))) {
		fprintf(stderr, "usage: lab-crowd files|messages THREADS MS\n");
		return 2;
	}
	messages = !strcmp(argv[1], "messages");
	threads = atoi(argv[2]);
	if (threads < 1 + messages || threads > MOST) {
		fprintf(stderr, "lab-crowd: %d..%d threads\n", 1 + messages, MOST);
		return 2;
	}
	receivers = messages ? threads / 2 : 0;
	for (i = 0; i < receivers; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
			die("socketpair");
		crowd[i].in = pair[0];
		crowd[i].out = pair[1];
	}
	before = open_files();
	begin = now();
	for (i = 0; i < threads; i++)
		if (pthread_create(&crowd[i].thread, NULL,
				   !messages ? files : i < receivers ? receives :
								       sends,
				   &crowd[i]))
			die("pthread_create");
	usleep(atoi(argv[3]) * 1000);
	stop = 1;
	for (i = receivers; i < threads; i++)
		pthread_join(crowd[i].thread, NULL);
	ns = now() - begin;
	for (i = 0; i < receivers; i++) {
		shutdown(crowd[i].out, SHUT_WR);
		pthread_join(crowd[i].thread, NULL);
	}
	for (i = receivers; i < threads; i++) {
		sent += crowd[i].sum;
		count += crowd[i].count;
		fewest = crowd[i].count < fewest ? crowd[i].count : fewest;
		most = crowd[i].count > most ? crowd[i].count : most;
	}
	for (i = 0; i < threads; i++)
		faults += crowd[i].faults;
	for (i = 0; i < receivers; i++) {
		came += crowd[i].sum;
		counted += crowd[i].count;
	}
	if (messages)
		faults += came != sent || counted != count;
	faults += open_files() != before;
	printf("count: %llu\nns: %llu\nfewest: %llu\nmost: %llu\nexact: %d\n", count, ns, fewest,
	       most, !faults);
	return 0;
}
