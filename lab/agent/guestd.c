// SPDX-License-Identifier: GPL-2.0-only
/*
 * guestd: dom0's end of the lab's command channel. Takes calls from `guest`
 * clients on a unix socket and passes their frames to the agent of the guest they
 * name, over one vchan a guest that stays open as long as the domain lives.
 *
 * A call ends for certain: with the command's status, or with a reason. A domain
 * that dies is noticed by xenstore's @releaseDomain, one that hangs by a ping.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include <xenctrl.h>

#include "mux.h"
#include "store.h"

#define CLIENTS 128
#define LINKS 32
#define PING_EVERY 20  /* seconds, while a call is under way */
#define PING_LIMIT 120 /* without an answer the guest counts as hung */

struct client {
	int fd; /* 0: free */
	uint32_t call;
	struct vlink_of *link;
	char *name;
	double deadline; /* until when to wait for the agent */
	double retry;	 /* when to look for it, if xenstore does not speak first */
	char *run;	 /* the F_RUN payload, until it was sent */
	size_t run_len;
	struct buf in, out;
	int over; /* nothing more to come: flush and close */
};

struct vlink_of {
	struct vlink l; /* l.v NULL: free */
	int domid;
	double asked, heard;
};

static struct client clients[CLIENTS];
static struct vlink_of links[LINKS];
static struct store store;
static xc_interface *xc;
static uint32_t last_call;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

__attribute__((format(printf, 2, 3))) static void fail(struct client *c, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	put_frame(&c->out, 0, F_FAIL, 0, text, strlen(text));
	c->over = 1;
	c->link = NULL;
}

/* A domain that runs, or could. */
static int alive(int domid)
{
	xc_dominfo_t info;

	return xc_domain_getinfo(xc, (uint32_t)domid, 1, &info) == 1 &&
	       info.domid == (uint32_t)domid && !info.dying && !info.shutdown;
}

static int domid_of(const char *name)
{
	static const char base[] = "/local/domain";
	size_t len = 0;
	char *ids = store_call(&store, XS_DIRECTORY, base, sizeof(base), &len);
	int found = -1;

	for (char *id = ids; id && id < ids + len && found < 0; id += strlen(id) + 1) {
		char path[64];
		char *its;

		snprintf(path, sizeof(path), "%s/%.16s/name", base, id);
		its = store_get(&store, path);
		if (its && !strcmp(its, name) && alive(atoi(id)))
			found = atoi(id);
		free(its);
	}
	free(ids);
	return found;
}

static void drop_link(struct vlink_of *l, const char *why)
{
	for (struct client *c = clients; c < clients + CLIENTS; c++)
		if (c->fd && c->link == l)
			fail(c, "%s (domain %d)", why, l->domid);
	vlink_close(&l->l, 0);
}

static struct vlink_of *link_to(int domid)
{
	struct vlink_of *free_one = NULL;
	char path[64];

	for (struct vlink_of *l = links; l < links + LINKS; l++) {
		if (l->l.v && l->domid == domid)
			return l;
		if (!l->l.v)
			free_one = l;
	}
	if (!free_one)
		return NULL;
	snprintf(path, sizeof(path), "/local/domain/%d/" NODE, domid);
	free_one->l.v = libxenvchan_client_init(NULL, domid, path);
	if (!free_one->l.v) {
		/* Look again when its agent writes there; this fails when it is watched already. */
		store_watch(&store, path);
		return NULL;
	}
	free_one->l.v->blocking = 0;
	free_one->domid = domid;
	free_one->asked = free_one->heard = now();
	return free_one;
}

/* Send a call to its guest, or leave it for the next round. */
static void try_start(struct client *c)
{
	int domid = domid_of(c->name);

	c->retry = now() + 1;
	if (domid < 0) {
		fail(c, "there is no such running domain");
		return;
	}
	c->link = link_to(domid);
	if (!c->link) {
		if (now() >= c->deadline)
			fail(c, "its agent does not answer (domain %d)", domid);
		return;
	}
	c->call = ++last_call;
	put_frame(&c->link->l.out, c->call, F_RUN, 0, c->run, c->run_len);
	free(c->run);
	c->run = NULL;
}

/* The first frame of a client: NAME, seconds to wait for the agent, the command. */
static void take_call(struct client *c, char *payload, size_t len)
{
	char **words = words_of(payload, len);

	if (!words || !words[1] || !words[2]) {
		fail(c, "bad call");
	} else {
		c->name = strdup(words[0]);
		c->deadline = now() + atof(words[1]);
		c->run_len = len - (size_t)(words[2] - payload);
		c->run = malloc(c->run_len);
		if (!c->name || !c->run)
			die("out of memory");
		memcpy(c->run, words[2], c->run_len);
		try_start(c);
	}
	free(words);
}

/* Until the call has begun, what follows its first frame stays in the queue. */
static void from_client(struct client *c)
{
	struct frame f;
	char *payload;
	int more = 0;

	while (!c->over && !c->run && (more = next_frame(&c->in, &f, &payload)) > 0) {
		if (!c->name && f.type == F_RUN)
			take_call(c, payload, f.len);
		else if (c->link)
			put_frame(&c->link->l.out, c->call, f.type, f.arg, payload, f.len);
		drop_frame(&c->in, &f);
	}
	if (more < 0)
		fail(c, "bad frame");
}

static void close_client(struct client *c)
{
	if (c->link && c->call) /* it left before its command ended */
		put_frame(&c->link->l.out, c->call, F_SIGNAL, SIGKILL, NULL, 0);
	close(c->fd);
	free(c->name);
	free(c->run);
	buf_free(&c->in);
	buf_free(&c->out);
	memset(c, 0, sizeof(*c));
}

static void from_guest(struct vlink_of *l)
{
	struct frame f;
	char *payload;
	int more;

	while ((more = next_frame(&l->l.in, &f, &payload)) > 0) {
		l->heard = now();
		for (struct client *c = clients; c < clients + CLIENTS; c++) {
			if (!c->fd || c->link != l || c->call != f.call || f.type == F_PING)
				continue;
			put_frame(&c->out, 0, f.type, f.arg, payload, f.len);
			if (f.type == F_EXIT) {
				c->over = 1;
				c->link = NULL;
			}
		}
		drop_frame(&l->l.in, &f);
	}
	if (more < 0)
		drop_link(l, "its agent sends nonsense");
}

static int busy(const struct vlink_of *l)
{
	for (struct client *c = clients; c < clients + CLIENTS; c++)
		if (c->fd && c->link == l)
			return 1;
	return 0;
}

/* Ping guests that have calls under way; give up on one that stays silent. */
static void check_pings(void)
{
	for (struct vlink_of *l = links; l < links + LINKS; l++) {
		if (!l->l.v)
			continue;
		if (!busy(l)) {
			l->asked = l->heard = now();
		} else if (now() > l->heard + PING_LIMIT && l->asked > l->heard) {
			drop_link(l, "it hangs: its agent has not answered for two minutes");
		} else if (now() > l->asked + PING_EVERY) {
			l->asked = now();
			put_frame(&l->l.out, 0, F_PING, 0, NULL, 0);
		}
	}
}

static void check_domains(void)
{
	for (struct vlink_of *l = links; l < links + LINKS; l++)
		if (l->l.v && !alive(l->domid))
			drop_link(l, "it died: the domain was destroyed, shut down or crashed");
}

static void accept_client(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	for (struct client *c = clients; fd >= 0 && c < clients + CLIENTS; c++)
		if (!c->fd) {
			c->fd = fd;
			return;
		}
	if (fd >= 0)
		close(fd);
}

static int listen_on(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	mkdir("/run/lab", 0755);
	unlink(path);
	strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 64))
		die(path);
	return fd;
}

int main(void)
{
	int listener;

	signal(SIGPIPE, SIG_IGN);
	store_open(&store);
	xc = xc_interface_open(NULL, NULL, 0);
	if (!xc || !store_watch(&store, "@releaseDomain"))
		die("guestd: xenstore and privcmd");
	listener = listen_on(SOCKET);

	for (;;) {
		struct pollfd p[2 + CLIENTS + LINKS] = {
			{ listener, POLLIN, 0 },
			{ store.fd, POLLIN, 0 },
		};
		nfds_t n = 2;
		int timeout = store.fired ? 0 : -1;

		for (struct client *c = clients; c < clients + CLIENTS; c++) {
			if (!c->fd)
				continue;
			p[n++] = (struct pollfd){ c->fd, POLLIN | (c->out.len ? POLLOUT : 0), 0 };
			if (c->link && timeout < 0)
				timeout = PING_EVERY * 1000;
			if (c->run && timeout)
				timeout = 1000;
		}
		for (struct vlink_of *l = links; l < links + LINKS; l++)
			if (l->l.v)
				p[n++] = (struct pollfd){ libxenvchan_fd_for_select(l->l.v), POLLIN, 0 };
		if (poll(p, n, timeout) < 0 && errno != EINTR)
			die("guestd: poll");

		int fired = store_fired(&store, p[1].revents & POLLIN);

		n = 2;
		for (struct client *c = clients; c < clients + CLIENTS; c++) {
			if (!c->fd)
				continue;
			if ((p[n++].revents & (POLLIN | POLLHUP | POLLERR)) && !buf_fill(&c->in, c->fd)) {
				close_client(c);
				continue;
			}
			if (c->run && (fired || now() >= c->retry))
				try_start(c);
			from_client(c);
		}
		for (struct vlink_of *l = links; l < links + LINKS; l++) {
			if (!l->l.v)
				continue;
			/* A link made just now has no entry yet. */
			for (nfds_t i = 2; i < n + LINKS && i < sizeof(p) / sizeof(p[0]); i++)
				if (p[i].fd == libxenvchan_fd_for_select(l->l.v) &&
				    (p[i].revents & POLLIN)) {
					libxenvchan_wait(l->l.v);
					break;
				}
			int gone = vlink_read(&l->l) < 0;

			from_guest(l);
			if (l->l.v && (gone || vlink_flush(&l->l) < 0))
				drop_link(l, "its agent let go");
		}
		if (fired)
			check_domains();
		check_pings();
		for (struct client *c = clients; c < clients + CLIENTS; c++) {
			if (!c->fd)
				continue;
			if (buf_flush(&c->out, c->fd) < 0 || (c->over && !c->out.len))
				close_client(c);
		}
		if (p[0].revents & POLLIN)
			accept_client(listener);
	}
}
