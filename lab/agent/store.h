/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * xenstore's wire protocol, as little as the channel needs: requests one at a
 * time, and one watch that only says "look again". No threads, unlike libxenstore
 * with a watch, so it fits a poll loop.
 */
#ifndef LAB_STORE_H
#define LAB_STORE_H

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <xen/io/xs_wire.h>

#include "mux.h"

struct store {
	int fd;
	int fired;
};

/* Dom0 talks to the daemon, a guest by its kernel. */
static inline void store_open(struct store *s)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "/run/xenstored/socket" };

	s->fired = 0;
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd >= 0 && !connect(s->fd, (struct sockaddr *)&a, sizeof(a)))
		return;
	close(s->fd);
	s->fd = open("/dev/xen/xenbus", O_RDWR | O_CLOEXEC);
	if (s->fd < 0)
		die("/dev/xen/xenbus");
}

static inline void store_read(struct store *s, void *to, size_t len)
{
	while (len) {
		ssize_t n = read(s->fd, to, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("xenstore has ended");
		to = (char *)to + n;
		len -= (size_t)n;
	}
}

/* One message; the caller frees its body, which ends in NUL. */
static inline char *store_message(struct store *s, struct xsd_sockmsg *m)
{
	char *body;

	store_read(s, m, sizeof(*m));
	body = calloc(1, m->len + 1);
	if (!body)
		die("out of memory");
	store_read(s, body, m->len);
	return body;
}

/* The answer to a request, or NULL when it is an error; *len without the final NUL. */
static inline char *store_call(struct store *s, uint32_t type, const char *body, size_t body_len,
			       size_t *len)
{
	char request[512];
	struct xsd_sockmsg m = { .type = type, .len = (uint32_t)body_len };

	if (sizeof(m) + body_len > sizeof(request))
		return NULL;
	memcpy(request, &m, sizeof(m));
	memcpy(request + sizeof(m), body, body_len);
	if (write(s->fd, request, sizeof(m) + body_len) != (ssize_t)(sizeof(m) + body_len))
		die("xenstore: write");
	for (;;) {
		char *answer = store_message(s, &m);

		if (m.type == type) {
			if (len)
				*len = m.len;
			return answer;
		}
		s->fired |= m.type == XS_WATCH_EVENT;
		free(answer);
		if (m.type == XS_ERROR)
			return NULL;
	}
}

static inline char *store_get(struct store *s, const char *path)
{
	return store_call(s, XS_READ, path, strlen(path) + 1, NULL);
}

static inline int store_watch(struct store *s, const char *path)
{
	char body[128];
	int n = snprintf(body, sizeof(body), "%s%cw", path, 0) + 1;
	char *answer = store_call(s, XS_WATCH, body, (size_t)n, NULL);

	free(answer);
	return answer != NULL;
}

/* Has the watch fired since the last time? `readable`: what poll says of the descriptor. */
static inline int store_fired(struct store *s, int readable)
{
	struct xsd_sockmsg m;
	int fired;

	while (readable) {
		struct pollfd p = { s->fd, POLLIN, 0 };

		free(store_message(s, &m));
		s->fired |= m.type == XS_WATCH_EVENT;
		readable = poll(&p, 1, 0) > 0;
	}
	fired = s->fired;
	s->fired = 0;
	return fired;
}

#endif
