// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mutants: give damaged copies of an annotated DSO to dlopen.
 *
 *	mutants SEED COPY COUNT [KIND...]
 *
 * Makes COUNT copies of the DSO SEED as the file COPY, each damaged in its own
 * way in what a reader of its bitmap goes by: the bitmap, its section header,
 * what leads to that, the length of the file. KINDs, numbers of the table
 * in mutate.c, leave out the others. Prints for each copy what dlopen did:
 * "ok", dlopen's error, or the signal. The same number is the same damage, so
 * that two runs can be compared.
 */
#include <dlfcn.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mutate.h"

static void write_copy(const char *copy)
{
	int fd;

	unlink(copy);
	fd = open(copy, O_WRONLY | O_CREAT | O_EXCL, 0700);
	if (fd < 0 || write(fd, mutant, mutant_size) != (ssize_t)mutant_size ||
	    close(fd))
		err(2, "%s", copy);
}

/* In a process of its own, so that a crash is a result. */
static void open_copy(const char *copy)
{
	void *handle = dlopen(copy, RTLD_NOW);
	int (*answer)(void);

	if (!handle) {
		puts(dlerror());
		return;
	}
	answer = (int (*)(void))dlsym(handle, "answer");
	puts(answer && answer() == 42 && !dlclose(handle) ? "ok" : "not ok");
}

static void try(unsigned int number, const char *copy)
{
	int status;
	pid_t pid;

	mutate(number, MUTATE_BITMAP_KINDS);
	write_copy(copy);
	printf("%u ", number);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		open_copy(copy);
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		err(2, "fork");
	if (WIFSIGNALED(status))
		printf("signal %d\n", WTERMSIG(status));
	else if (status)
		printf("status %d\n", WEXITSTATUS(status));
	fflush(stdout);
}

/* Whether one of the KINDs is that of this number. */
static int wanted(unsigned int number, char **kinds)
{
	if (!*kinds)
		return 1;
	while (*kinds)
		if (number % MUTATE_BITMAP_KINDS == strtoul(*kinds++, NULL, 10))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	unsigned int number, count;

	if (argc < 4)
		errx(2, "usage: mutants SEED COPY COUNT [KIND...]");
	mutate_read(argv[1]);
	count = atoi(argv[3]);
	for (number = 0; count; number++) {
		if (!wanted(number, argv + 4))
			continue;
		try(number, argv[2]);
		count--;
	}
	unlink(argv[2]);
	return 0;
}
