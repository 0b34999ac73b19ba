// SPDX-License-Identifier: GPL-2.0-or-later
/* pbitmap: add, remove and show the predictive bitmaps of ELF files. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

static int add_file(struct tool *tool, const char *file);
static int remove_file(struct tool *tool, const char *file);

static const struct command {
	const char *name;
	const char *options;		/* beyond -h -q -v */
	const char *help;
	int (*work)(struct tool *tool, const char *file);
	void (*begin)(struct tool *tool);
	int (*end)(struct tool *tool);
	/* Instead of these three, where arguments are not a list of files. */
	int (*run)(struct tool *tool, char **arguments);
} commands[] = {
	{ .name = "add", .options = "fnpP", .work = add_file,
	  .help = "give each FILE an empty bitmap" },
	{ .name = "remove", .options = "fnp", .work = remove_file,
	  .help = "take the bitmap of each FILE away" },
	{ .name = "show", .options = "j", .work = show_file,
	  .begin = show_begin, .end = show_end,
	  .help = "print what the bitmap of each FILE predicts" },
};

static const struct option options[] = {
	{ "force", no_argument, NULL, 'f' },
	{ "help", no_argument, NULL, 'h' },
	{ "json", no_argument, NULL, 'j' },
	{ "dry-run", no_argument, NULL, 'n' },
	{ "preserve", no_argument, NULL, 'p' },
	{ "page-size", required_argument, NULL, 'P' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "version", no_argument, NULL, 'V' },
	{ }
};

static const char help_text[] =
"Options:\n"
"  -f, --force           add, remove: skip the checks for signatures,\n"
"                        privileges, hard links and appended data\n"
"  -h, --help            print this text\n"
"  -j, --json            show: print JSON\n"
"  -n, --dry-run         add, remove: check, but write nothing\n"
"  -p, --preserve        add, remove: keep the time of the last modification\n"
"  -P, --page-size=SIZE  add: bytes of a page, 4096 by default\n"
"  -q, --quiet           print errors only\n"
"  -v, --verbose         say what is done to each file, and a summary\n"
"  -V, --version         print the version\n"
"\n"
"FILE may be @LIST, a file with one name on each line, or - for standard\n"
"input as such a list.\n"
"\n"
"Exit status: 0 done or nothing to do, 1 failed, 2 wrong usage,\n"
"3 no bitmap or a stale one, 4 refused.\n";

static const size_t nr_commands = sizeof(commands) / sizeof(*commands);

static void help(void)
{
	size_t i;

	printf("Usage: pbitmap COMMAND [OPTION...] FILE...\n\nCommands:\n");
	for (i = 0; i < nr_commands; i++)
		printf("  %-8s %s\n", commands[i].name, commands[i].help);
	printf("\n%s", help_text);
}

static int usage(const char *text, const char *what)
{
	fprintf(stderr, "pbitmap: %s%s\nTry 'pbitmap --help'.\n", text, what);
	return EXIT_USAGE;
}

void say(const struct tool *tool, enum pbitmap_level level, const char *text)
{
	static const int needed[] = {
		[PBITMAP_LOG_ERROR] = -1,
		[PBITMAP_LOG_WARNING] = 0,
		[PBITMAP_LOG_INFO] = 1,
	};

	if (tool->verbosity >= needed[level])
		fprintf(stderr, "pbitmap: %s: %s\n", tool->file, text);
}

static void log_message(void *arg, enum pbitmap_level level,
			const char *message)
{
	say(arg, level, message);
}

int exit_code(int error)
{
	if (error >= 0)
		return EXIT_DONE;
	return error == -PBITMAP_ERR_REFUSED ? EXIT_REFUSED : EXIT_FAILED;
}

static bool is_dry(const struct tool *tool)
{
	return tool->options.flags & PBITMAP_DRY_RUN;
}

static int add_file(struct tool *tool, const char *file)
{
	int ret = pbitmap_add(file, &tool->options);

	if (ret >= 0)
		say(tool, PBITMAP_LOG_INFO, ret == PBITMAP_UNCHANGED ?
		    "has a bitmap" : is_dry(tool) ? "to be added" : "added");
	return exit_code(ret);
}

static int remove_file(struct tool *tool, const char *file)
{
	int ret = pbitmap_remove(file, &tool->options);

	if (ret == PBITMAP_UNCHANGED)
		say(tool, PBITMAP_LOG_INFO, "has no bitmap");
	else if (ret == PBITMAP_WRITTEN)
		say(tool, PBITMAP_LOG_INFO, is_dry(tool) ? "to be removed" :
		    "removed");
	return exit_code(ret);
}

/* The exit code that says more: failed, refused, no bitmap, done. */
static int worse(int a, int b)
{
	static const int rank[] = {
		[EXIT_DONE] = 0,
		[EXIT_NO_BITMAP] = 1,
		[EXIT_REFUSED] = 2,
		[EXIT_FAILED] = 3,
	};

	return rank[a] > rank[b] ? a : b;
}

static int work_on(const struct command *command, struct tool *tool,
		   const char *file)
{
	int code;

	tool->file = file;
	code = command->work(tool, file);
	tool->count[code]++;
	return code;
}

/* Each line of @name, or of standard input for NULL, is a file. */
static int work_on_list(const struct command *command, struct tool *tool,
			const char *name)
{
	FILE *list = name ? fopen(name, "r") : stdin;
	int code = EXIT_DONE;
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	tool->file = name ? name : "standard input";
	if (!list) {
		say(tool, PBITMAP_LOG_ERROR, strerror(errno));
		return EXIT_FAILED;
	}
	while ((n = getline(&line, &size, list)) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (*line)
			code = worse(code, work_on(command, tool, line));
	}
	tool->file = name ? name : "standard input";
	if (ferror(list)) {
		say(tool, PBITMAP_LOG_ERROR, strerror(errno));
		code = EXIT_FAILED;
	}
	free(line);
	if (name)
		fclose(list);
	return code;
}

static void summary(const struct tool *tool)
{
	const unsigned int *n = tool->count;

	fprintf(stderr, "pbitmap: %u done, %u without a valid bitmap,"
		" %u refused, %u failed\n", n[EXIT_DONE], n[EXIT_NO_BITMAP],
		n[EXIT_REFUSED], n[EXIT_FAILED]);
}

static int run(const struct command *command, struct tool *tool, char **files)
{
	int code = EXIT_DONE, ret;

	if (command->run)
		return command->run(tool, files);
	if (command->begin)
		command->begin(tool);
	for (; *files; files++) {
		if (!strcmp(*files, "-"))
			ret = work_on_list(command, tool, NULL);
		else if (**files == '@')
			ret = work_on_list(command, tool, *files + 1);
		else
			ret = work_on(command, tool, *files);
		code = worse(code, ret);
	}
	if (command->end)
		code = worse(code, command->end(tool));
	if (tool->verbosity > 0)
		summary(tool);
	return code;
}

static bool parse_page_size(const char *text, unsigned int *size)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 0);
	*size = value;
	return *text && !*end && !errno && value >= 4096 && value <= 65536 &&
	       !(value & (value - 1));
}

/* Options of @command; returns its exit code, or -1 to go on. */
static int parse(const struct command *command, struct tool *tool, int argc,
		 char **argv)
{
	static const char letters[] = "+fhjnpP:qvV";
	int option;

	/* Behind the first argument of run() may be options of others. */
	opterr = 0;
	while ((option = getopt_long(argc, argv, letters + !command->run,
				     options, NULL)) != -1) {
		if (strchr("fnpPj", option) &&
		    !strchr(command->options, option))
			return usage("not an option of ", command->name);
		switch (option) {
		case 'f':
			tool->options.flags |= PBITMAP_FORCE;
			break;
		case 'h':
			help();
			return EXIT_DONE;
		case 'j':
			tool->json = true;
			break;
		case 'n':
			tool->options.flags |= PBITMAP_DRY_RUN;
			break;
		case 'p':
			tool->options.flags |= PBITMAP_KEEP_TIMES;
			break;
		case 'P':
			if (!parse_page_size(optarg, &tool->options.page_size))
				return usage("not a page size: ", optarg);
			break;
		case 'q':
			tool->verbosity = -1;
			break;
		case 'v':
			tool->verbosity = 1;
			break;
		case 'V':
			printf("pbitmap %s\n", VERSION);
			return EXIT_DONE;
		default:
			return usage("wrong option: ", argv[optind - 1]);
		}
	}
	return -1;
}

static const struct command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < nr_commands; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/* Data that could not be written is a failure. */
static int finish(int code)
{
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "pbitmap: standard output: %s\n",
			strerror(errno));
		return EXIT_FAILED;
	}
	return code;
}

int main(int argc, char **argv)
{
	static const struct command no_command = { .options = "" };
	const struct command *command;
	struct tool tool = {
		.options = {
			.sz = sizeof(tool.options),
			.log = log_message,
			.log_arg = &tool,
		},
	};
	int code;

	if (argc < 2)
		return usage("no command", "");
	if (argv[1][0] == '-') {
		code = parse(&no_command, &tool, argc, argv);
		return code < 0 ? usage("no command", "") : finish(code);
	}
	command = find_command(argv[1]);
	if (!command)
		return usage("no such command: ", argv[1]);
	code = parse(command, &tool, argc - 1, argv + 1);
	if (code >= 0)
		return finish(code);
	argv += 1 + optind;
	if (!*argv)
		return usage("no file", "");
	return finish(run(command, &tool, argv));
}
