// SPDX-License-Identifier: GPL-2.0-only
/*
 * agent: init of a lab guest. Offers a vchan to dom0 and runs the commands that
 * come over it, many at a time, each in a process group of its own.
 *
 * As process 1 it must not end: a kernel that loses it panics, which the lab sees.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "mux.h"
#include "store.h"

#define CALLS 64

struct call {
	int used;
	uint32_t id;
	pid_t pid; /* 0 when the process has ended */
	int told;  /* dom0 knows how it ended, or does not want to */
	int status;
	int fd[3];	  /* our ends of the pipes; -1 when closed */
	size_t credit[3]; /* bytes of stdout, stderr that dom0 still takes */
	struct buf in;	  /* bytes for stdin */
	int in_end;
};

static struct call calls[CALLS];
static struct vlink link_;
static struct store store;
static int child_pipe[2];

static void on_child(int sig)
{
	int saved = errno;
	ssize_t n = write(child_pipe[1], "c", 1);

	(void)sig;
	(void)n;
	errno = saved;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static struct call *find(uint32_t id)
{
	for (struct call *c = calls; c < calls + CALLS; c++)
		if (c->used && !c->told && c->id == id)
			return c;
	return NULL;
}

/* Several words are a command and its arguments; one word is a line for the shell. */
static void run_child(char **words, int in, int out, int err)
{
	sigset_t none;

	setsid();
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	closefrom(3);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (chdir("/root"))
		perror("/root");
	if (!words[1]) {
		execl("/bin/sh", "sh", "-c", words[0], NULL);
	} else {
		execvp(words[0], words);
		if (errno == ENOENT && !strchr(words[0], '/')) {
			/* A builtin of the shell, maybe; if not, it says so. */
			size_t n = 0;

			while (words[n])
				n++;
			char **line = calloc(n + 5, sizeof(*line));

			line[0] = "sh";
			line[1] = "-c";
			line[2] = "\"$@\"";
			line[3] = "sh";
			memcpy(line + 4, words, n * sizeof(*words));
			execv("/bin/sh", line);
		}
	}
	fprintf(stderr, "%s: %s\n", words[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static void refuse(uint32_t id, const char *why)
{
	put_frame(&link_.out, id, F_DATA, 2, why, strlen(why));
	put_frame(&link_.out, id, F_EXIT, 255, NULL, 0);
}

static void start(uint32_t id, char *payload, size_t len)
{
	char **words = words_of(payload, len);
	struct call *c = calls;
	int in[2], out[2], err[2];

	while (c < calls + CALLS && c->used)
		c++;
	if (!words || c == calls + CALLS) {
		refuse(id, words ? "too many calls at once\n" : "no command\n");
		free(words);
		return;
	}
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		die("pipe");

	pid_t pid = fork();

	if (pid == 0)
		run_child(words, in[0], out[1], err[1]);
	free(words);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	if (pid < 0) {
		refuse(id, "fork failed\n");
		close(in[1]);
		close(out[0]);
		close(err[0]);
		return;
	}
	memset(c, 0, sizeof(*c));
	c->used = 1;
	c->id = id;
	c->pid = pid;
	c->fd[0] = in[1];
	c->fd[1] = out[0];
	c->fd[2] = err[0];
	c->credit[1] = c->credit[2] = WINDOW;
	for (int i = 0; i < 3; i++)
		fcntl(c->fd[i], F_SETFL, O_NONBLOCK);
}

/* Bytes for stdin that the pipe takes now. */
static void feed(struct call *c)
{
	ssize_t n = c->fd[0] < 0 ? -1 : buf_flush(&c->in, c->fd[0]);

	if (n < 0) { /* nobody reads: swallow it, so that the sender goes on */
		n = (ssize_t)c->in.len;
		buf_drop(&c->in, c->in.len);
		close_fd(&c->fd[0]);
	}
	if (!c->told)
		put_ack(&link_.out, c->id, 0, (size_t)n);
	if (c->in_end && !c->in.len)
		close_fd(&c->fd[0]);
}

/*
 * Output that is there now. What a command leaves running in the background may
 * still write after the call is over: that is read and dropped, so that it neither
 * blocks nor dies of SIGPIPE.
 */
static void drain(struct call *c, unsigned int stream)
{
	static char chunk[CHUNK];

	while (c->fd[stream] >= 0) {
		size_t want = c->told || c->credit[stream] > CHUNK ? CHUNK : c->credit[stream];
		ssize_t n;

		if (!want)
			return;
		n = read(c->fd[stream], chunk, want);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			close_fd(&c->fd[stream]);
			return;
		}
		if (!c->told) {
			put_frame(&link_.out, c->id, F_DATA, stream, chunk, (size_t)n);
			c->credit[stream] -= (size_t)n;
		}
	}
}

static void settle(struct call *c)
{
	drain(c, 1);
	drain(c, 2);
	if (!c->pid && !c->told) {
		struct pollfd p[2] = { { c->fd[1], POLLIN, 0 }, { c->fd[2], POLLIN, 0 } };

		/* All that it wrote has to be on its way first; windows may be closed. */
		poll(p, 2, 0);
		if (!((p[0].revents | p[1].revents) & POLLIN)) {
			put_frame(&link_.out, c->id, F_EXIT, (unsigned int)c->status, NULL, 0);
			c->told = 1;
			close_fd(&c->fd[0]);
			buf_free(&c->in);
		}
	}
	if (!c->pid && c->told && c->fd[1] < 0 && c->fd[2] < 0) {
		close_fd(&c->fd[0]);
		buf_free(&c->in);
		c->used = 0;
	}
}

static void reap(void)
{
	char junk[64];
	int status;
	pid_t pid;

	while (read(child_pipe[0], junk, sizeof(junk)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (struct call *c = calls; c < calls + CALLS; c++)
			if (c->used && c->pid == pid) {
				c->pid = 0;
				c->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
			}
}

static void handle(const struct frame *f, char *payload)
{
	struct call *c = find(f->call);

	switch (f->type) {
	case F_RUN:
		start(f->call, payload, f->len);
		break;
	case F_PING:
		put_frame(&link_.out, f->call, F_PING, f->arg, NULL, 0);
		break;
	case F_DATA:
		if (!c)
			break;
		buf_add(&c->in, payload, f->len);
		c->in_end |= !f->len;
		feed(c);
		break;
	case F_ACK:
		if (c && (f->arg == 1 || f->arg == 2))
			c->credit[f->arg] += ack_count(f, payload);
		break;
	case F_SIGNAL:
		if (!c)
			break;
		if (c->pid)
			kill(-c->pid, f->arg);
		if (f->arg == SIGKILL) /* the caller is gone */
			c->told = 1;
		break;
	}
}

static void offer(void)
{
	while (!(link_.v = libxenvchan_server_init(NULL, 0, NODE, RING_SIZE, RING_SIZE))) {
		fprintf(stderr, "agent: no vchan yet: %s\n", strerror(errno));
		sleep(1);
	}
	link_.v->blocking = 0;
}

/* Dom0 let go, or we woke up in another domain: end all calls, offer anew. */
static void start_over(int moved)
{
	for (struct call *c = calls; c < calls + CALLS; c++)
		if (c->used && !c->told) {
			if (c->pid)
				kill(-c->pid, SIGKILL);
			c->told = 1;
		}
	vlink_close(&link_, moved);
	offer();
}

/* A restored guest has a new domid, and its watches fire: the old vchan is dead. */
static void check_domid(char **domid)
{
	char *now = store_get(&store, "domid");

	if (!now)
		return;
	if (strcmp(now, *domid))
		start_over(1);
	free(*domid);
	*domid = now;
}

int main(void)
{
	char *domid;

	store_open(&store);
	domid = store_get(&store, "domid");
	if (!domid || !store_watch(&store, "domid"))
		die("agent: xenstore");
	if (pipe2(child_pipe, O_CLOEXEC | O_NONBLOCK))
		die("pipe");
	signal(SIGCHLD, on_child);
	signal(SIGPIPE, SIG_IGN);
	offer();

	for (;;) {
		struct pollfd p[3 + 3 * CALLS] = {
			{ libxenvchan_fd_for_select(link_.v), POLLIN, 0 },
			{ child_pipe[0], POLLIN, 0 },
			{ store.fd, POLLIN, 0 },
		};
		nfds_t n = 3;
		struct frame f;
		char *payload;
		int more;

		for (struct call *c = calls; c < calls + CALLS; c++) {
			for (unsigned int i = 0; c->used && i < 3; i++) {
				int wanted = i ? c->told || c->credit[i] : c->in.len > 0;

				if (c->fd[i] >= 0 && wanted)
					p[n++] = (struct pollfd){ c->fd[i], i ? POLLIN : POLLOUT, 0 };
			}
		}
		if (poll(p, n, store.fired ? 0 : -1) < 0 && errno != EINTR)
			die("agent: poll");
		if (store_fired(&store, p[2].revents & POLLIN))
			check_domid(&domid);
		else if (p[0].revents & POLLIN)
			libxenvchan_wait(link_.v);
		reap();

		int gone = vlink_read(&link_) < 0;

		while ((more = next_frame(&link_.in, &f, &payload)) > 0) {
			handle(&f, payload);
			drop_frame(&link_.in, &f);
		}
		for (struct call *c = calls; c < calls + CALLS; c++) {
			if (!c->used)
				continue;
			if (c->in.len || c->in_end)
				feed(c);
			settle(c);
		}
		if (gone || more < 0 || vlink_flush(&link_) < 0)
			start_over(0);
	}
}
