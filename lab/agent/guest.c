// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest NAME CMD [ARGS...]: run a command in a guest, from dom0.
 *
 * One word is a line for the guest's shell, several are a command and its
 * arguments. Standard input, output and error are the caller's, the exit status
 * is the command's (128 + N after signal N), 255 when there was no way to run it:
 * no such guest, a dead one, a hung one. SIGINT, SIGTERM and SIGHUP are passed on.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "mux.h"

static struct buf to, from;
static size_t credit = WINDOW;
static int signal_pipe[2];

/* The first signal is the command's; at the third, it has had its chance. */
static void on_signal(int sig)
{
	static volatile sig_atomic_t count;
	char c = (char)sig;
	ssize_t n = write(signal_pipe[1], &c, 1);

	(void)n;
	if (++count == 3)
		_exit(128 + sig);
}

static void usage(int status)
{
	fprintf(status ? stderr : stdout,
		"usage: guest [-n] [-w SECONDS] NAME CMD [ARGS...]\n"
		"       guest-wait NAME [SECONDS]\n"
		"  -n  do not read standard input\n"
		"  -w  how long to wait for the guest's agent (60)\n");
	exit(status);
}

static int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		fprintf(stderr, "guest: %s: %s\n", path, strerror(errno));
		exit(255);
	}
	return fd;
}

static void send_call(const char *name, const char *wait, char **words)
{
	struct buf b = { 0 };

	buf_add(&b, name, strlen(name) + 1);
	buf_add(&b, wait, strlen(wait) + 1);
	for (; *words; words++)
		buf_add(&b, *words, strlen(*words) + 1);
	if (b.len > FRAME_MAX) {
		fprintf(stderr, "guest: the command line is longer than %u bytes\n", FRAME_MAX);
		exit(255);
	}
	put_frame(&to, 0, F_RUN, 0, b.data, b.len);
	buf_free(&b);
}

static void write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = { fd, POLLOUT, 0 };

			poll(&p, 1, -1);
		} else if (n < 0 && errno != EINTR) {
			exit(128 + SIGPIPE); /* nobody wants it any more */
		} else if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
}

static void handle(const char *name, const struct frame *f, char *payload)
{
	switch (f->type) {
	case F_DATA:
		write_all(f->arg == 2 ? 2 : 1, payload, f->len);
		put_ack(&to, 0, f->arg, f->len);
		break;
	case F_ACK:
		credit += ack_count(f, payload);
		break;
	case F_EXIT:
		exit(f->arg);
	case F_FAIL:
		fprintf(stderr, "guest %s: %.*s\n", name, (int)f->len, payload);
		exit(255);
	}
}

/* Pass standard input on; 0 at its end. */
static int read_stdin(void)
{
	char chunk[CHUNK];
	ssize_t n = read(0, chunk, credit < CHUNK ? credit : CHUNK);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 1;
	if (n < 0)
		n = 0;
	put_frame(&to, 0, F_DATA, 0, chunk, (size_t)n);
	credit -= (size_t)n;
	return n > 0;
}

int main(int argc, char **argv)
{
	const char *wait = "60";
	int input = 1, fd, opt;
	const char *self = strrchr(argv[0], '/');
	char *just_true[] = { "true", NULL };

	self = self ? self + 1 : argv[0];
	if (!strcmp(self, "guest-wait")) {
		if (argc < 2 || argc > 3)
			usage(2);
		send_call(argv[1], argc == 3 ? argv[2] : "300", just_true);
		optind = 1;
		input = 0;
	} else {
		while ((opt = getopt(argc, argv, "+nw:h")) != -1) {
			if (opt == 'n')
				input = 0;
			else if (opt == 'w')
				wait = optarg;
			else
				usage(opt == 'h' ? 0 : 2);
		}
		if (argc - optind < 2)
			usage(2);
		send_call(argv[optind], wait, argv + optind + 1);
	}
	fd = connect_to(SOCKET);
	if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK))
		die("pipe");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGHUP, on_signal);
	if (!input)
		put_frame(&to, 0, F_DATA, 0, NULL, 0);

	for (;;) {
		struct pollfd p[3] = {
			{ fd, (short)(POLLIN | (to.len ? POLLOUT : 0)), 0 },
			{ signal_pipe[0], POLLIN, 0 },
			{ input && credit ? 0 : -1, POLLIN, 0 },
		};
		struct frame f;
		char *payload;
		char sig;

		if (poll(p, 3, -1) < 0 && errno != EINTR)
			die("guest: poll");
		while (read(signal_pipe[0], &sig, 1) == 1)
			put_frame(&to, 0, F_SIGNAL, (unsigned int)sig, NULL, 0);
		if (p[2].revents)
			input = read_stdin();
		if (to.len) {
			ssize_t n = send(fd, to.data + to.off, to.len, MSG_DONTWAIT | MSG_NOSIGNAL);

			if (n > 0)
				buf_drop(&to, (size_t)n);
		}
		if (!(p[0].revents & (POLLIN | POLLHUP)))
			continue;
		if (!buf_fill(&from, fd)) {
			fprintf(stderr, "guest %s: guestd has ended\n", argv[optind]);
			exit(255);
		}
		while (next_frame(&from, &f, &payload) > 0) {
			handle(argv[optind], &f, payload);
			drop_frame(&from, &f);
		}
	}
}
