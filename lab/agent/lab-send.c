// SPDX-License-Identifier: GPL-2.0-only
/*
 * lab-send udp|tcp ADDRESS PORT SIZE COUNT [NAME=VALUE]...
 *
 * Sends COUNT pieces of SIZE bytes and says how that went, as `name=value` words:
 * sent (bytes), waits (a send found the socket full), most (largest SIOCOUTQ),
 * asked, done and copied (MSG_ZEROCOPY: sends, completions, those that copied), and
 * of a look every 20 ms: looks, charged and device (how often the socket was charged
 * for packets, and eth0's first queue had some by BQL), mean_ and most_ of both.
 *
 *	sndbuf=BYTES     SO_SNDBUF as the caller means it, forced
 *	zerocopy=1       MSG_ZEROCOPY, and wait for the completions
 *	seconds=S        the whole ends by then (20)
 *	pace=BYTES       SO_MAX_PACING_RATE, bytes per second
 *	gap=US           microseconds after each piece
 *	down=INTERFACE   take it down right after the last piece
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SLOT 65536 /* zero-copy memory must not change until it is sent */

static long long asked, done, copied;
static double deadline;

/* Bytes, looked at now and then. */
static struct figure {
	const char *name;
	long long looks, nonzero, sum, most;
} charged = { .name = "charged" }, device = { .name = "device" };

static void look(struct figure *f, long long value)
{
	f->looks++;
	f->nonzero += value > 0;
	f->sum += value;
	if (value > f->most)
		f->most = value;
}

static void tell(const struct figure *f)
{
	printf(" %s=%lld mean_%s=%lld most_%s=%lld", f->name, f->nonzero, f->name,
	       f->looks ? f->sum / f->looks : 0, f->name, f->most);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void set(int s, int level, int option, int value, const char *what)
{
	if (setsockopt(s, level, option, &value, sizeof(value)))
		die(what);
}

static void look_at(int s)
{
	static double next;
	unsigned int memory[SK_MEMINFO_VARS];
	socklen_t length = sizeof(memory);
	char text[32];
	FILE *bql;

	if (now() < next)
		return;
	next = now() + 0.02;
	if (!getsockopt(s, SOL_SOCKET, SO_MEMINFO, memory, &length))
		look(&charged, memory[SK_MEMINFO_WMEM_ALLOC]);
	bql = fopen("/sys/class/net/eth0/queues/tx-0/byte_queue_limits/inflight", "r");
	if (!bql)
		return;
	if (fgets(text, sizeof(text), bql))
		look(&device, atoll(text));
	fclose(bql);
}

/* Completions that are there. */
static void reap(int s)
{
	char control[256];

	for (;;) {
		struct msghdr m = { .msg_control = control, .msg_controllen = sizeof(control) };
		struct sock_extended_err *e;
		struct cmsghdr *c;

		if (recvmsg(s, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return;
		c = CMSG_FIRSTHDR(&m);
		if (!c)
			continue;
		e = (struct sock_extended_err *)CMSG_DATA(c);
		if (e->ee_origin != SO_EE_ORIGIN_ZEROCOPY)
			continue;
		done += e->ee_data - e->ee_info + 1;
		if (e->ee_code & SO_EE_CODE_ZEROCOPY_COPIED)
			copied += e->ee_data - e->ee_info + 1;
	}
}

/* Until the socket takes more or completions came; false: time is up. */
static int wait_for(int s, int events)
{
	struct pollfd p = { .fd = s, .events = events };

	if (now() > deadline)
		return 0;
	poll(&p, 1, 100);
	reap(s);
	return 1;
}

static void take_down(int s, const char *interface)
{
	struct ifreq request = {};

	snprintf(request.ifr_name, IFNAMSIZ, "%s", interface);
	if (ioctl(s, SIOCGIFFLAGS, &request))
		die(interface);
	request.ifr_flags &= ~IFF_UP;
	if (ioctl(s, SIOCSIFFLAGS, &request))
		die(interface);
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	long long sent = 0, waits = 0, most = 0;
	int s, i, tcp, zerocopy = 0, sndbuf = 0, pace = 0, gap = 0, queued;
	size_t size, count, slots = 64, left;
	double seconds = 20;
	char *memory, down[IFNAMSIZ] = "";

	if (argc < 6) {
		fprintf(stderr, "usage: lab-send udp|tcp ADDRESS PORT SIZE COUNT [NAME=VALUE]...\n");
		return 2;
	}
	tcp = !strcmp(argv[1], "tcp");
	to.sin_port = htons(atoi(argv[3]));
	size = atoi(argv[4]);
	count = atoll(argv[5]);
	if (!inet_aton(argv[2], &to.sin_addr) || !size || size > SLOT)
		return 2;
	for (i = 6; i < argc; i++)
		if (sscanf(argv[i], "down=%15s", down) != 1 &&
		    sscanf(argv[i], "sndbuf=%d", &sndbuf) != 1 &&
		    sscanf(argv[i], "zerocopy=%d", &zerocopy) != 1 &&
		    sscanf(argv[i], "seconds=%lf", &seconds) != 1 &&
		    sscanf(argv[i], "pace=%d", &pace) != 1 && sscanf(argv[i], "gap=%d", &gap) != 1)
			return 2;
	deadline = now() + seconds;
	s = socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
	if (s < 0)
		die("socket");
	if (sndbuf)
		set(s, SOL_SOCKET, SO_SNDBUFFORCE, sndbuf, "SO_SNDBUFFORCE");
	if (pace)
		set(s, SOL_SOCKET, SO_MAX_PACING_RATE, pace, "SO_MAX_PACING_RATE");
	if (zerocopy)
		set(s, SOL_SOCKET, SO_ZEROCOPY, 1, "SO_ZEROCOPY");
	if (connect(s, (struct sockaddr *)&to, sizeof(to)))
		die("connect");
	memory = mmap(NULL, slots * SLOT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	for (left = 0; left < slots * SLOT; left++)
		memory[left] = left * 7 + left / 4096;

	for (left = count * size; left;) {
		size_t piece = left < size ? left : size;
		ssize_t n = send(s, memory + (sent / size % slots) * SLOT, piece,
				 MSG_DONTWAIT | MSG_NOSIGNAL | (zerocopy ? MSG_ZEROCOPY : 0));

		if (n > 0) {
			sent += n;
			left -= n;
			asked += zerocopy;
			if (!ioctl(s, SIOCOUTQ, &queued) && queued > most)
				most = queued;
		} else if (errno == EAGAIN || errno == ENOBUFS) {
			waits++;
			if (!wait_for(s, POLLOUT))
				break;
		} else if (errno != ECONNREFUSED) {
			die("send");
		}
		if (now() > deadline)
			break;
		reap(s);
		look_at(s);
		if (gap)
			usleep(gap);
	}
	if (down[0])
		take_down(s, down);
	while (done < asked && wait_for(s, 0))
		;
	printf("sent=%lld waits=%lld most=%lld asked=%lld done=%lld copied=%lld looks=%lld", sent,
	       waits, most, asked, done, copied, charged.looks);
	tell(&charged);
	tell(&device);
	printf("\n");
	return 0;
}
