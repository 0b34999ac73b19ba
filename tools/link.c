// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pbitmap link: what to link a program with so that there is room for a bitmap
 * in it from the start, as assembly or as an object file.
 */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"
#include "util.h"

#ifndef SHF_GNU_RETAIN
#define SHF_GNU_RETAIN	(1 << 21)
#endif

#define SECTION_TYPE	0x6570626d	/* SHT_PRESENT_BITMAP */

/* A page for what is predicted of 60 MiB, and the objects of a program. */
#define DEFAULT_SIZE	32768

static unsigned long reserved = DEFAULT_SIZE;
static const char own[] = "/proc/self/exe";
static const char *like = own;

/* Names of the three sections, each where its header says. */
static const char names[] = "\0.shstrtab\0.pbitmap\0.note.GNU-stack";
enum { NAME_SHSTRTAB = 1, NAME_PBITMAP = 11, NAME_STACK = 20 };

static int fail(struct tool *tool, const char *file, const char *why)
{
	tool->file = file;
	say(tool, PBITMAP_LOG_ERROR, why);
	return EXIT_FAILED;
}

/* Gas and clang take % everywhere, and @ where it is no comment. */
static int print_assembly(const struct tool *tool, unsigned long page)
{
	json_object *root;
	char text[160];

	snprintf(text, sizeof(text),
		 "\t.section .pbitmap,\"R\",%%0x%x\n"
		 "\t.balign %lu\n"
		 "\t.zero %lu\n"
		 "\t.section .note.GNU-stack,\"\",%%progbits\n",
		 SECTION_TYPE, page, reserved);
	if (!tool->json) {
		fputs(text, stdout);
		return EXIT_DONE;
	}
	root = json_object_new_object();
	add_number(root, "version", 1);
	add_number(root, "size", reserved);
	add_number(root, "page_size", page);
	json_object_object_add(root, "assembly",
			       json_object_new_string(text));
	print_document(root);
	return EXIT_DONE;
}

/* What an object has to have in common with those it is linked with. */
static bool read_like(GElf_Ehdr *ehdr, int *class)
{
	int fd = open(like, O_RDONLY | O_CLOEXEC);
	Elf *elf;
	bool done;

	if (fd < 0)
		return false;
	elf = elf_begin(fd, ELF_C_READ, NULL);
	done = elf_kind(elf) == ELF_K_ELF && gelf_getehdr(elf, ehdr);
	*class = gelf_getclass(elf);
	elf_end(elf);
	close(fd);
	return done;
}

static bool put_section(Elf *elf, int name, unsigned int type, uint64_t flags,
			const void *bytes, uint64_t size, uint64_t align)
{
	Elf_Scn *section = elf_newscn(elf);
	Elf_Data *data = section ? elf_newdata(section) : NULL;
	GElf_Shdr shdr;

	if (!data || !gelf_getshdr(section, &shdr))
		return false;
	data->d_buf = (void *)bytes;
	data->d_size = size;
	data->d_align = align;
	data->d_type = ELF_T_BYTE;
	data->d_version = EV_CURRENT;
	shdr.sh_name = name;
	shdr.sh_type = type;
	shdr.sh_flags = flags;
	return gelf_update_shdr(section, &shdr) != 0;
}

static bool put_object(Elf *elf, const GElf_Ehdr *model, int class,
		       unsigned long page, const void *zero)
{
	GElf_Ehdr ehdr;

	if (!gelf_newehdr(elf, class) || !gelf_getehdr(elf, &ehdr))
		return false;
	ehdr.e_ident[EI_DATA] = model->e_ident[EI_DATA];
	ehdr.e_ident[EI_OSABI] = ELFOSABI_GNU;	/* for SHF_GNU_RETAIN */
	ehdr.e_type = ET_REL;
	ehdr.e_machine = model->e_machine;
	ehdr.e_flags = model->e_flags;
	ehdr.e_version = EV_CURRENT;
	ehdr.e_shstrndx = 3;
	return put_section(elf, NAME_PBITMAP, SECTION_TYPE, SHF_GNU_RETAIN,
			   zero, reserved, page) &&
	       put_section(elf, NAME_STACK, SHT_PROGBITS, 0, NULL, 0, 1) &&
	       put_section(elf, NAME_SHSTRTAB, SHT_STRTAB, 0, names,
			   sizeof(names), 1) &&
	       gelf_update_ehdr(elf, &ehdr) &&
	       elf_update(elf, ELF_C_WRITE) >= 0;
}

static int write_object(struct tool *tool, unsigned long page)
{
	void *zero = calloc(1, reserved);
	int fd, class, code = EXIT_DONE;
	Elf *elf = NULL;
	GElf_Ehdr model;

	elf_version(EV_CURRENT);
	if (!read_like(&model, &class)) {
		free(zero);
		return fail(tool, like, "not an ELF file");
	}
	fd = open(tool->output, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0 || !zero)
		code = fail(tool, tool->output, strerror(errno));
	else
		elf = elf_begin(fd, ELF_C_WRITE, NULL);
	if (!code && (!elf || !put_object(elf, &model, class, page, zero)))
		code = fail(tool, tool->output, elf_errmsg(-1));
	elf_end(elf);
	if (fd >= 0 && close(fd) && !code)
		code = fail(tool, tool->output, strerror(errno));
	free(zero);
	return code;
}

static int run_link(struct tool *tool, char **arguments)
{
	unsigned long page = tool->options.page_size ?: 4096;

	if (*arguments)
		return usage("link takes no files: ", *arguments);
	reserved = (reserved + page - 1) & -page;
	if (tool->output)
		return write_object(tool, page);
	if (like != own)
		return usage("--like needs --output", "");
	return print_assembly(tool, page);
}

enum {
	LETTER_LIKE = LETTER_OTHER,
	LETTER_SIZE,
};

static bool link_option(struct tool *tool, int letter, const char *value)
{
	(void)tool;
	if (letter == LETTER_SIZE)
		return parse_number(value, 4096, 1 << 22, &reserved);
	like = value;
	return true;
}

static const struct tool_option link_options[] = {
	OPTION_JSON,
	{ LETTER_LIKE, "like", "FILE",
	  "an object for the machine that the ELF\nfile FILE is for" },
	{ 'o', "output", "OBJECT", "write OBJECT, not assembly" },
	{ 'P', "page-size", "SIZE", "bytes of a page, 4096 by default" },
	{ LETTER_SIZE, "size", "SIZE", "bytes to reserve, 32768 by default" },
	{ }
};

const struct command link_command = {
	.name = "link",
	.operands = "",
	.help = "reserve room for a bitmap when a program is linked",
	.options = link_options,
	.option = link_option,
	.run = run_link,
	.no_arguments = true,
};
