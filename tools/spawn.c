// SPDX-License-Identifier: GPL-2.0-or-later
/* Run another program, found as a shell finds it. */
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool.h"

/*
 * Starts it with @input and @output, -1 for those that pbitmap has itself.
 * Returns its process id, or -errno.
 */
pid_t start_program(char **arguments, char **environment, int input,
		    int output)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int error;

	error = posix_spawn_file_actions_init(&actions);
	if (error)
		return -error;
	if (input >= 0)
		error = posix_spawn_file_actions_adddup2(&actions, input, 0);
	if (!error && output >= 0)
		error = posix_spawn_file_actions_adddup2(&actions, output, 1);
	if (!error)
		error = posix_spawnp(&pid, arguments[0], &actions, NULL,
				     arguments, environment);
	posix_spawn_file_actions_destroy(&actions);
	return error ? -error : pid;
}

/* Its exit status, or 128 and the signal that ended it, as in a shell. */
int end_of_program(pid_t pid)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, interrupt, quit;
	int status;

	/* What the terminal sends is for the program. */
	sigaction(SIGINT, &ignore, &interrupt);
	sigaction(SIGQUIT, &ignore, &quit);
	while (waitpid(pid, &status, 0) < 0)
		;
	sigaction(SIGINT, &interrupt, NULL);
	sigaction(SIGQUIT, &quit, NULL);
	return WIFEXITED(status) ? WEXITSTATUS(status) :
	       128 + WTERMSIG(status);
}
