// SPDX-License-Identifier: GPL-2.0-only
/*
 * lab-churn INTERFACE COUNT SEED ACTION [ARGUMENT]...
 *
 * Takes an interface away and brings it back COUNT times, with pauses of at most 50 ms
 * that SEED decides, in one process: where a fork takes seconds (a PV guest with a
 * debug kernel), a shell's loop would spend its time with itself.
 *
 *	link                       down and up
 *	queues MOST                another number of queues, 1..MOST; MOST at the end
 *	bind BUS DRIVER            every device of a driver unbound and bound again
 *	reload FILE NAME [PARAMS]  the module out and in
 *	back                       nothing, but wait until it is there
 *	read MS [PATH]...          statistics, strings, channels and these files, until killed,
 *	                           with pauses of at most MS ms
 *
 * What had an IPv4 address has it again afterwards; a vif that was a port of a bridge is
 * one again, and connected, as its hotplug script says. Says `COUNT times, S s`.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *interface;
static int sock;
static struct ifreq address, netmask;
static char bridge[IFNAMSIZ]; /* of which it is a port, or "" */

static void die(const char *format, ...)
{
	va_list arguments;
	int why = errno;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	fprintf(stderr, ": %s\n", strerror(why));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void rest_up_to(unsigned int ms)
{
	usleep(random() % (ms * 1000));
}

static void rest(void)
{
	rest_up_to(50);
}

static struct ifreq request(void)
{
	struct ifreq r = {};

	strncpy(r.ifr_name, interface, IFNAMSIZ - 1);
	return r;
}

static int ethtool(void *command)
{
	struct ifreq r = request();

	r.ifr_data = command;
	return ioctl(sock, SIOCETHTOOL, &r);
}

static void set_up(int up)
{
	struct ifreq r = request();

	if (ioctl(sock, SIOCGIFFLAGS, &r))
		die("%s: flags", interface);
	r.ifr_flags = up ? r.ifr_flags | IFF_UP : r.ifr_flags & ~IFF_UP;
	if (ioctl(sock, SIOCSIFFLAGS, &r))
		die("%s: %s", interface, up ? "up" : "down");
}

static void find_bridge(void)
{
	char path[64], target[256];
	const char *name;
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/class/net/%s/master", interface);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return;
	target[length] = '\0';
	name = strrchr(target, '/');
	snprintf(bridge, sizeof(bridge), "%.15s", name ? name + 1 : target);
}

/* What the hotplug script of a vif does, in two programs instead of forty. */
static void into_bridge(void)
{
	struct ifreq r = {};
	char command[128];
	unsigned int domain, handle;

	if (sscanf(interface, "vif%u.%u", &domain, &handle) != 2)
		die("%s is no vif", interface);
	strncpy(r.ifr_name, bridge, IFNAMSIZ - 1);
	r.ifr_ifindex = (int)if_nametoindex(interface);
	if (ioctl(sock, SIOCBRADDIF, &r) && errno != EBUSY)
		die("%s into %s", interface, bridge);
	set_up(1);
	snprintf(command, sizeof(command),
		 "exec xenstore-write /local/domain/0/backend/vif/%u/%u/hotplug-status connected",
		 domain, handle);
	if (system(command))
		die("%s", command);
}

/* The interface may need a while, and udev or a script may be at it as well. */
static void bring_back(void)
{
	double end = now() + 120;

	while (!if_nametoindex(interface)) {
		if (now() > end)
			die("%s did not come back within 120 s", interface);
		usleep(5000);
	}
	if (bridge[0])
		into_bridge();
	if (!address.ifr_name[0])
		return;
	if (ioctl(sock, SIOCSIFADDR, &address) || ioctl(sock, SIOCSIFNETMASK, &netmask))
		die("%s: address", interface);
	set_up(1);
}

static void link_once(void)
{
	set_up(0);
	rest();
	set_up(1);
}

static void queues(unsigned int count)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };

	if (ethtool(&channels))
		die("%s: channels", interface);
	if (channels.combined_count == count)
		return;
	channels.cmd = ETHTOOL_SCHANNELS;
	channels.combined_count = count;
	if (ethtool(&channels))
		die("%s: %u queues", interface, count);
}

static void queues_once(unsigned int most)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	unsigned int other;

	if (ethtool(&channels))
		die("%s: channels", interface);
	do
		other = 1 + random() % most;
	while (most > 1 && other == channels.combined_count);
	queues(other);
}

static void put(const char *path, const char *text)
{
	int file = open(path, O_WRONLY);

	if (file < 0 || write(file, text, strlen(text)) < 0)
		die("%s > %s", text, path);
	close(file);
}

static void bind_once(const char *bus, const char *driver)
{
	char folder[128], path[sizeof(folder) + 8], names[8][64];
	struct dirent *entry;
	unsigned int count = 0, i;
	DIR *stream;

	snprintf(folder, sizeof(folder), "/sys/bus/%s/drivers/%s", bus, driver);
	stream = opendir(folder);
	if (!stream)
		die("%s", folder);
	while ((entry = readdir(stream)) && count < 8)
		if (!strncmp(entry->d_name, "vif-", 4))
			snprintf(names[count++], sizeof(names[0]), "%.63s", entry->d_name);
	closedir(stream);
	if (!count)
		die("%s has no device", folder);
	for (i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/unbind", folder);
		put(path, names[i]);
	}
	rest();
	for (i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/bind", folder);
		put(path, names[i]);
	}
	bring_back();
}

static void reload_once(const char *file, const char *name, const char *parameters)
{
	double end = now() + 60;
	int image;

	/* A reader may have one of its files open at the moment. */
	while (syscall(SYS_delete_module, name, O_NONBLOCK)) {
		if ((errno != EAGAIN && errno != EBUSY) || now() > end)
			die("module %s out", name);
		usleep(1000);
	}
	rest();
	image = open(file, O_RDONLY);
	if (image < 0 || syscall(SYS_finit_module, image, parameters, 0))
		die("module %s in", file);
	close(image);
	bring_back();
}

static void slurp(const char *path)
{
	char buffer[4096];
	int file = open(path, O_RDONLY);

	if (file < 0)
		return; /* gone for now */
	while (read(file, buffer, sizeof(buffer)) > 0)
		;
	close(file);
}

static void read_statistics(void)
{
	struct {
		struct ethtool_sset_info info;
		__u32 length;
	} set = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_STATS } };
	struct ethtool_gstrings *strings;
	struct ethtool_stats *stats;
	unsigned int room;

	if (ethtool(&set))
		return;
	/* Their number may grow before they are read. */
	room = set.length * 4 + 4096;
	strings = calloc(1, sizeof(*strings) + room * ETH_GSTRING_LEN);
	stats = calloc(1, sizeof(*stats) + room * sizeof(__u64));
	if (!strings || !stats)
		die("memory");
	strings->cmd = ETHTOOL_GSTRINGS;
	strings->string_set = ETH_SS_STATS;
	ethtool(strings);
	stats->cmd = ETHTOOL_GSTATS;
	ethtool(stats);
	free(strings);
	free(stats);
}

static void read_once(char **patterns)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	glob_t found;
	size_t i;

	read_statistics();
	ethtool(&channels);
	for (; *patterns; patterns++) {
		if (glob(*patterns, GLOB_NOSORT, NULL, &found) == 0) {
			for (i = 0; i < found.gl_pathc; i++)
				slurp(found.gl_pathv[i]);
			globfree(&found);
		}
	}
}

static int is(const char *action, const char *name, int arguments, int least)
{
	return !strcmp(action, name) && arguments >= least;
}

int main(int argc, char **argv)
{
	double begin = now();
	unsigned long count, i;
	const char *action;
	int more = argc - 5;
	char **rest_of;

	if (argc < 5) {
		fprintf(stderr, "usage: lab-churn INTERFACE COUNT SEED ACTION [ARGUMENT]...\n");
		return 2;
	}
	interface = argv[1];
	count = strtoul(argv[2], NULL, 10);
	srandom(strtoul(argv[3], NULL, 10));
	action = argv[4];
	rest_of = argv + 5;
	sock = socket(AF_INET, SOCK_DGRAM, 0);
	if (sock < 0)
		die("socket");
	address = netmask = request();
	if (ioctl(sock, SIOCGIFADDR, &address) || ioctl(sock, SIOCGIFNETMASK, &netmask))
		address.ifr_name[0] = '\0';
	find_bridge();

	for (i = 0; i < count || is(action, "read", more, 1); i++) {
		if (is(action, "link", more, 0))
			link_once();
		else if (is(action, "queues", more, 1))
			queues_once(strtoul(rest_of[0], NULL, 10));
		else if (is(action, "bind", more, 2))
			bind_once(rest_of[0], rest_of[1]);
		else if (is(action, "reload", more, 2))
			reload_once(rest_of[0], rest_of[1], more > 2 ? rest_of[2] : "");
		else if (is(action, "back", more, 0))
			bring_back();
		else if (is(action, "read", more, 1)) {
			read_once(rest_of + 1);
			rest_up_to(strtoul(rest_of[0], NULL, 10) + 1);
			continue;
		} else {
			fprintf(stderr, "lab-churn: no action %s with %d arguments\n", action, more);
			return 2;
		}
		rest();
	}
	if (is(action, "queues", more, 1))
		queues(strtoul(rest_of[0], NULL, 10));
	printf("%lu times, %.1f s\n", count, now() - begin);
	return 0;
}
