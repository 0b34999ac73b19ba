// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * race: launches, against what may happen to their files and mappings
 * meanwhile.
 *
 *	race NAME SECONDS DIRECTORY
 *
 * DIRECTORY is where a file system of its own is mounted that has the annotated
 * programs victim (static) and small (linked to libsmall.so) and a dynamic
 * linker ld.so.  Two processes start them over and over, while a third does
 * what NAME says.  Ends with 1 and says why when something happened that must
 * not; else says how many launches there were, and how often it was done.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <mntent.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/pbitmap.h>

#define PAGE	4096UL

/* What a launch ends with when execve() fails, by itself or as busy. */
#define NO_EXEC	98
#define BUSY	97

/* Seconds that anything may take before it counts as hanging. */
#define PATIENCE	100

static char self[4096];
static const char *directory;
static unsigned long steps;

/* Counted by all processes. */
static struct {
	atomic_ulong launches, failures;
	atomic_int status;		/* of one of the failures */
} *count;

static unsigned int below(unsigned int n)
{
	return random() % n;
}

static void nap(unsigned int most_us)
{
	usleep(below(most_us));
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		err(2, "%s", path);
	close(fd);
}

static void write_number(const char *path, unsigned int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	write_file(path, text);
}

/* ---- launches ---- */

static pid_t start(const char *program, const char *const *argv)
{
	pid_t pid = fork();

	if (pid < 0)
		err(2, "fork");
	if (pid)
		return pid;
	/* Programs that are not whole complain. */
	if (program != self)
		dup2(open("/dev/null", O_WRONLY), 2);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execv(program, (char *const *)argv);
	_exit(errno == ETXTBSY ? BUSY : NO_EXEC);
}

/* How it ended, as by wait(). */
static int finish(pid_t pid, const char *what)
{
	int status;

	alarm(PATIENCE);
	if (waitpid(pid, &status, 0) != pid)
		err(1, "%s", what);
	alarm(0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == BUSY)
		errx(1, "%s: ETXTBSY", what);
	return status;
}

static int launch(const char *program)
{
	static const char *const touches[] = {
		"t1", "t1,2,3", "r1,2", "w1,2", "d3", "t3",
	};
	const char *argv[] = {
		program, touches[below(6)], touches[below(6)], NULL,
	};

	return finish(start(program, argv), program);
}

/* ld.so itself is a file that is executed, and written. */
static int launch_by_linker(void)
{
	const char *const argv[] = { "./ld.so", "./small", "t1", NULL };

	return finish(start("./ld.so", argv), "./ld.so");
}

static volatile sig_atomic_t stopping;

static void stop(int signal)
{
	(void)signal;
	stopping = 1;
}

static void count_launch(int status)
{
	count->launches++;
	if (status) {
		count->failures++;
		count->status = status;
	}
}

/* In a process of its own, until it is told to end. */
static void keep_launching(bool statically)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGTERM, stop);
	srandom(getpid());
	while (!stopping)
		count_launch(statically ? launch("./victim") :
			     below(3) ? launch("./small") :
			     launch_by_linker());
	exit(0);
}

/* ---- what happens to files ---- */

static void copy(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	struct stat st;
	off_t at = 0;

	if (in < 0 || out < 0 || fstat(in, &st))
		err(2, "%s", from);
	while (at < st.st_size)
		if (sendfile(out, in, &at, st.st_size - at) <= 0)
			err(2, "%s", to);
	close(in);
	close(out);
}

static const char *const files[] = { "victim", "small", "libsmall.so" };

/* A new one with the same contents, as from an upgrade. */
static void renew(const char *file)
{
	char from[64];

	snprintf(from, sizeof(from), "originals/%s", file);
	copy(from, "new");
	if (rename("new", file))
		err(2, "%s", file);
}

static void do_rename(void)
{
	nap(20000);
	renew(files[below(3)]);
}

static void do_unlink(void)
{
	const char *file = files[below(3)];

	if (unlink(file))
		err(2, "%s", file);
	nap(20000);
	renew(file);
}

/* While a bitmap is being written nobody else can write: a moment. */
static void set_size(const char *file, off_t size)
{
	int tries;

	for (tries = 0; truncate(file, size); tries++) {
		if (errno != ETXTBSY || tries == 1000)
			err(2, "%s", file);
		usleep(1000);
	}
}

/* Executables in use cannot be truncated, libraries can. */
static void do_truncate(void)
{
	struct stat st;

	nap(20000);
	if (stat("libsmall.so", &st))
		err(2, "libsmall.so");
	set_size("libsmall.so", below(st.st_size));
	nap(5000);
	if (below(2))
		set_size("libsmall.so", st.st_size);
	nap(5000);
	renew("libsmall.so");
}

static void do_evict(void)
{
	nap(50000);
	write_number("/proc/sys/vm/drop_caches", 1 + below(3));
}

/* What verity has sealed is not written any more. */
static void do_verity(void)
{
	struct fsverity_enable_arg arg = {
		.version = 1,
		.hash_algorithm = FS_VERITY_HASH_ALG_SHA256,
		.block_size = 4096,
	};
	const char *file = files[below(3)];
	char block[PAGE];
	int i, fd;
	ssize_t n;

	renew(file);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		err(2, "%s", file);
	nap(300000);
	if (ioctl(fd, FS_IOC_ENABLE_VERITY, &arg))
		err(1, "%s: cannot enable verity", file);
	nap(100000);
	for (i = 0; i < 2; i++) {
		lseek(fd, 0, SEEK_SET);
		while ((n = read(fd, block, sizeof(block))) > 0)
			;
		if (n)
			err(1, "%s changed under verity", file);
		fdatasync(fd);
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	}
	close(fd);
}

/* ---- what happens to the file system ---- */

static char device[256], type[32];

static void find_mount(void)
{
	FILE *mounts = setmntent("/proc/mounts", "r");
	struct mntent *entry;

	while (mounts && (entry = getmntent(mounts))) {
		if (strcmp(entry->mnt_dir, directory))
			continue;
		snprintf(device, sizeof(device), "%s", entry->mnt_fsname);
		snprintf(type, sizeof(type), "%s", entry->mnt_type);
	}
	endmntent(mounts);
	if (!*device)
		errx(2, "%s is no mount point", directory);
}

static void do_remount(void)
{
	find_mount();
	/* EBUSY while a write-back is under way. */
	if (mount(device, directory, NULL, MS_REMOUNT | MS_RDONLY, NULL) &&
	    errno != EBUSY)
		err(1, "remount read-only");
	nap(20000);
	if (mount(device, directory, NULL, MS_REMOUNT, NULL))
		err(1, "remount");
	nap(20000);
}

static void do_freeze(void)
{
	int fd = open(directory, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, FIFREEZE, 0))
		err(1, "cannot freeze");
	nap(50000);
	if (ioctl(fd, FITHAW, 0))
		err(1, "cannot thaw");
	close(fd);
	nap(50000);
}

/*
 * In use as long as a process of the launch lives, or its bitmaps are being
 * written, and no longer.
 */
static void do_umount(void)
{
	const char *const argv[] = { "./victim", "t1", NULL };
	double limit = now() + PATIENCE;
	pid_t pids[4];
	int i;

	if (chdir(directory))
		err(2, "%s", directory);
	if (!*device)
		find_mount();
	for (i = 0; i < 4; i++)
		pids[i] = start("./victim", argv);
	count_launch(launch("./small"));
	if (chdir("/"))
		err(2, "/");
	if (!umount2(directory, 0) &&
	    mount(device, directory, type, 0, NULL))
		err(2, "mount");
	for (i = 0; i < 4; i++)
		count_launch(finish(pids[i], "victim"));
	while (umount2(directory, 0)) {
		if (errno != EBUSY)
			err(1, "umount");
		if (now() > limit)
			errx(1, "busy, and nobody uses it");
		usleep(1000);
	}
	if (mount(device, directory, type, 0, NULL))
		err(2, "mount");
}

/* A server that never answers is of no concern to others. */
static pid_t stuck;

static void do_fuse(void)
{
	const char *const argv[] = { "deaf/program", NULL };
	char options[64];
	int fd;

	if (!stuck) {
		fd = open("/dev/fuse", O_RDWR);
		snprintf(options, sizeof(options),
			 "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
		mkdir("deaf", 0755);
		if (fd < 0 || mount("deaf", "deaf", "fuse", 0, options))
			err(2, "deaf");
		stuck = start("deaf/program", argv);
	}
	nap(100000);
	if (waitpid(stuck, NULL, WNOHANG))
		errx(1, "who waits for the server does not wait");
}

static void end_fuse(void)
{
	/* It wakes who waits, and is through at once if they are quick. */
	bool gone = !umount2("deaf", MNT_FORCE);

	finish(stuck, "who waits for the server");
	if (!gone && umount2("deaf", 0))
		err(1, "deaf");
}

/* ---- what happens to processes ---- */

static void do_kill(void)
{
	const char *const argv[] = { "./small", "t1", "w1", "wait", "never",
				     NULL };
	pid_t pid = start("./small", argv);

	nap(below(4) ? 100000 : 1500000);
	kill(pid, SIGKILL);
	finish(pid, "./small");
}

#define GROUP	"/sys/fs/cgroup/race"

static void hog(void)
{
	char *p = mmap(NULL, 256 << 20, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(p, 1, 256 << 20);
}

/* A family, in a group with little memory, that takes more and more. */
static void do_oom(void)
{
	const char *const argv[] = { "./small", "t1,2,3", "r1,2", "w1,2",
				     "fork", "fork", "exec", self, "hog",
				     NULL };
	pid_t pid;

	mkdir(GROUP, 0755);
	write_file(GROUP "/memory.max", "8M");
	pid = fork();
	if (!pid) {
		write_number(GROUP "/cgroup.procs", getpid());
		execv("./small", (char *const *)argv);
		_exit(NO_EXEC);
	}
	finish(pid, "a family that is killed");
}

static void do_sysctl(void)
{
	static const struct {
		const char *name;
		unsigned int low, high;
	} knobs[] = {
		{ "enabled", 0, 2 }, { "early_fault", 0, 1 },
		{ "objects", 0, 1 }, { "sampling", 1, 3 },
		{ "window", 0, 2 }, { "write", 0, 1 },
		{ "update_interval", 0, 1 },
	};
	unsigned int i = below(sizeof(knobs) / sizeof(*knobs));
	char path[64];

	snprintf(path, sizeof(path), "/proc/sys/vm/pbitmap_%s", knobs[i].name);
	write_number(path, knobs[i].low +
		     below(knobs[i].high - knobs[i].low + 1));
	nap(5000);
}

/* ---- what a program does to its own mappings ---- */

static char *map;
static size_t map_size;
static atomic_bool over;
static _Thread_local sigjmp_buf fault;

static void on_fault(int signal)
{
	siglongjmp(fault, signal);
}

static void touch(size_t at)
{
	volatile char *page = map + at;

	if (!sigsetjmp(fault, 1))
		*page;
}

static void *touch_all(void *unused)
{
	unsigned int state = 1;

	while (!over)
		touch((state = state * 1664525 + 1013904223) % map_size &
		      -PAGE);
	return unused;
}

static void *advise_all(void *unused)
{
	while (!over) {
		madvise(map, map_size, MADV_PBITMAP);
		usleep(1000);
	}
	return unused;
}

static void map_library(int more_flags)
{
	int fd = open("libsmall.so", O_RDONLY);
	void *p = mmap(map, map_size, PROT_READ | PROT_EXEC,
		       MAP_PRIVATE | more_flags, fd, 0);

	if (fd < 0 || p == MAP_FAILED)
		err(2, "libsmall.so");
	close(fd);
}

/* A piece of the mapping. */
static char *piece(size_t *size)
{
	size_t first = below(map_size / PAGE);

	*size = (1 + below(map_size / PAGE - first)) * PAGE;
	return map + first * PAGE;
}

static void in_munmap(void)
{
	size_t size;
	char *p = piece(&size);

	munmap(p, size);
	nap(1000);
	map_library(MAP_FIXED);
}

static void in_fixed(void)
{
	size_t size;
	char *p = piece(&size);

	mmap(p, size, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	nap(1000);
	map_library(MAP_FIXED);
}

static void in_mprotect(void)
{
	static const int prots[] = {
		PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
		PROT_READ | PROT_EXEC,
	};
	size_t size;
	char *p = piece(&size);

	mprotect(p, size, prots[below(4)]);
	if (!sigsetjmp(fault, 1))
		*p = 1;
}

static void in_mremap(void)
{
	static char *elsewhere;
	size_t size;
	char *p = piece(&size);

	if (!elsewhere)
		elsewhere = mmap(NULL, map_size, PROT_NONE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mremap(p, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere);
	nap(1000);
	map_library(MAP_FIXED);
}

static void in_forks(void)
{
	const char *const argv[] = { "./victim", "t1", NULL };
	int i;

	for (i = 0; i < 12; i++) {
		if (fork())
			continue;
		touch(below(map_size) & -PAGE);
		if (below(3) == 0)
			fork();
		if (below(3) == 0)
			execv("./victim", (char *const *)argv);
		_exit(0);
	}
	while (wait(NULL) > 0)
		;
}

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

static void in_huge(void)
{
	madvise(map, map_size, below(2) ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	madvise(map, map_size, MADV_COLLAPSE);
	if (below(4) == 0)
		madvise(map, map_size, MADV_DONTNEED);
	nap(10000);
}

static void in_locked(void)
{
	size_t size;
	char *p = piece(&size);

	mlock(p, size);
	munlock(p, size);
	madvise(p, size, below(2) ? MADV_DONTNEED : MADV_PAGEOUT);
}

/* ---- all of them ---- */

static const struct race {
	const char *name;
	void (*step)(void);	/* over and over */
	void (*inside)(void);	/* or this, in a program of its own */
	bool alone;		/* it makes its own launches */
	bool breaks;		/* launches may fail */
	void (*end)(void);
} races[] = {
	{ .name = "munmap",	.inside = in_munmap },
	{ .name = "fixed",	.inside = in_fixed },
	{ .name = "mprotect",	.inside = in_mprotect },
	{ .name = "mremap",	.inside = in_mremap },
	{ .name = "locked",	.inside = in_locked },
	{ .name = "khugepaged",	.inside = in_huge },
	{ .name = "forks",	.inside = in_forks },
	{ .name = "truncate",	.step = do_truncate, .breaks = true },
	{ .name = "rename",	.step = do_rename },
	{ .name = "unlink",	.step = do_unlink, .breaks = true },
	{ .name = "umount",	.step = do_umount, .alone = true },
	{ .name = "remount",	.step = do_remount },
	{ .name = "freeze",	.step = do_freeze },
	{ .name = "verity",	.step = do_verity },
	{ .name = "evict",	.step = do_evict },
	{ .name = "sysctl",	.step = do_sysctl },
	{ .name = "oom",	.step = do_oom },
	{ .name = "kill",	.step = do_kill },
	{ .name = "busy" },	/* launches and write-backs, no more */
	{ .name = "fuse",	.step = do_fuse, .end = end_fuse },
};

static const struct race *race;

/* A launch whose threads touch what the main thread takes away. */
static void run_inside(unsigned int ms)
{
	double end = now() + ms / 1000.0;
	pthread_t threads[2];
	struct stat st;

	signal(SIGSEGV, on_fault);
	signal(SIGBUS, on_fault);
	srandom(getpid());
	if (stat("libsmall.so", &st))
		err(2, "libsmall.so");
	map_size = (st.st_size + PAGE - 1) & -PAGE;
	map_library(0);
	if (pthread_create(&threads[0], NULL, touch_all, NULL) ||
	    pthread_create(&threads[1], NULL, advise_all, NULL))
		errx(2, "pthread_create");
	while (now() < end)
		race->inside();
	/* Sometimes the threads are still at it when the program exits. */
	if (below(2))
		exit(0);
	over = true;
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
}

/* Some live longer than a window of a second. */
static void do_inside(void)
{
	const char *const argv[] = { self, race->name,
				     below(3) ? "60" : "1500", NULL };
	int status = finish(start(self, argv), race->name);

	if (status)
		errx(1, "%s: status 0x%x", race->name, status);
}

static void step(void)
{
	if (race->step)
		race->step();
	else if (race->inside)
		do_inside();
	else
		usleep(100000);
	steps++;
}

/* At least this long, and until something has happened. */
static void run_race(double seconds)
{
	double end = now() + seconds;
	pid_t pids[2];
	int i;

	if (chdir(directory))
		err(2, "%s", directory);
	for (i = 0; i < 2 && !race->alone; i++) {
		pids[i] = fork();
		if (!pids[i])
			keep_launching(i);
	}
	while (now() < end || ((count->launches < 10 || steps < 3) &&
			       now() < end + PATIENCE))
		step();
	for (i = 0; i < 2 && !race->alone; i++) {
		kill(pids[i], SIGTERM);
		if (finish(pids[i], "launches"))
			errx(1, "launches failed as they must not");
	}
	if (race->end)
		race->end();
}

static void find_race(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(races) / sizeof(*races); i++)
		if (!strcmp(races[i].name, name))
			race = &races[i];
	if (!race)
		errx(2, "no race %s", name);
}

int main(int argc, char **argv)
{
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		err(2, "/proc/self/exe");
	if (argc == 2 && !strcmp(argv[1], "hog")) {
		hog();
		return 0;
	}
	if (argc < 3)
		errx(2, "usage: race NAME SECONDS DIRECTORY");
	find_race(argv[1]);
	if (argc == 3) {
		run_inside(atoi(argv[2]));
		return 0;
	}
	directory = argv[3];
	count = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (count == MAP_FAILED)
		err(2, "mmap");
	run_race(atof(argv[2]));
	if (count->failures && !race->breaks)
		errx(1, "%lu of %lu launches failed, one with status 0x%x",
		     count->failures, count->launches, count->status);
	printf("%lu launches, %lu failed, %lu times %s\n", count->launches,
	       count->failures, steps, race->name);
	return 0;
}
