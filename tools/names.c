// SPDX-License-Identifier: GPL-2.0-or-later
/* Sections and symbols of an ELF file, by address. */
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <gelf.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"

/* From the C++ library. */
char *__cxa_demangle(const char *mangled, char *buffer, size_t *size,
		     int *status);

/* Where several symbols have one address the plainest speaks for all. */
static int by_address(const void *one, const void *other)
{
	const struct name *a = one, *b = other;
	size_t plain_a, plain_b;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	plain_a = strspn(a->name, "_");
	plain_b = strspn(b->name, "_");
	if (plain_a != plain_b)
		return plain_a < plain_b ? -1 : 1;
	return strcmp(a->name, b->name);
}

static int read_sections(struct names *names, Elf *elf)
{
	Elf_Scn *section = NULL;
	struct name *name;
	size_t strings, n;
	GElf_Shdr sh;

	if (elf_getshdrnum(elf, &n) || elf_getshdrstrndx(elf, &strings))
		return 0;
	names->sections = calloc(n + 1, sizeof(*names->sections));
	if (!names->sections)
		return -ENOMEM;
	while ((section = elf_nextscn(elf, section))) {
		if (!gelf_getshdr(section, &sh) ||
		    !(sh.sh_flags & SHF_ALLOC) || sh.sh_type == SHT_NOBITS ||
		    !sh.sh_size || sh.sh_size > UINT64_MAX - sh.sh_addr)
			continue;
		name = &names->sections[names->nr_sections];
		name->name = elf_strptr(elf, strings, sh.sh_name);
		if (!name->name)
			continue;
		name->start = sh.sh_addr;
		name->end = sh.sh_addr + sh.sh_size;
		name->flags = sh.sh_flags;
		names->nr_sections++;
	}
	qsort(names->sections, names->nr_sections, sizeof(*names->sections),
	      by_address);
	return 0;
}

static bool has_address(const GElf_Sym *symbol, const char *name,
			GElf_Word section)
{
	if (!name || !*name || section == SHN_UNDEF || section == SHN_ABS ||
	    section == SHN_COMMON)
		return false;
	switch (GELF_ST_TYPE(symbol->st_info)) {
	case STT_NOTYPE:
	case STT_OBJECT:
	case STT_FUNC:
	case STT_GNU_IFUNC:
		return true;
	}
	return false;
}

/* Those of the file and of its debugging information, where that is found. */
static int read_symbols(struct names *names, Dwfl_Module *module,
			GElf_Addr bias)
{
	int n = dwfl_module_getsymtab(module), i;
	struct name *all, *last = NULL;
	size_t count = 0, kept = 0, k;
	GElf_Word section;
	GElf_Addr address;
	GElf_Sym symbol;
	const char *name;

	if (n <= 0)
		return 0;
	all = calloc(n, sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		name = dwfl_module_getsym_info(module, i, &symbol, &address,
					       &section, NULL, NULL);
		if (!has_address(&symbol, name, section))
			continue;
		address -= bias;
		if (symbol.st_size > UINT64_MAX - address)
			symbol.st_size = 0;
		all[count].start = address;
		all[count].end = address + symbol.st_size;
		all[count++].name = name;
	}
	qsort(all, count, sizeof(*all), by_address);
	for (k = 0; k < count; k++) {
		if (last && last->start == all[k].start) {
			if (last->end < all[k].end)
				last->end = all[k].end;
			continue;
		}
		last = &all[kept++];
		*last = all[k];
	}
	names->symbols = all;
	names->nr_symbols = kept;
	return 0;
}

/*
 * A file without names, or with damaged ones, has fewer; all that can fail is
 * memory.
 */
int names_open(const char *file, struct names *names)
{
	static char *debuginfo_path;
	static const Dwfl_Callbacks callbacks = {
		.find_elf = dwfl_build_id_find_elf,
		.find_debuginfo = dwfl_standard_find_debuginfo,
		.section_address = dwfl_offline_section_address,
		.debuginfo_path = &debuginfo_path,
	};
	Dwfl_Module *module;
	GElf_Addr bias;
	int ret = 0;
	Elf *elf;

	memset(names, 0, sizeof(*names));
	names->dwfl = dwfl_begin(&callbacks);
	if (!names->dwfl)
		return -ENOMEM;
	dwfl_report_begin(names->dwfl);
	module = dwfl_report_offline(names->dwfl, file, file, -1);
	dwfl_report_end(names->dwfl, NULL, NULL);
	elf = module ? dwfl_module_getelf(module, &bias) : NULL;
	if (elf)
		ret = read_sections(names, elf);
	if (elf && !ret)
		ret = read_symbols(names, module, bias);
	if (ret)
		names_close(names);
	return ret;
}

void names_close(struct names *names)
{
	free(names->sections);
	free(names->symbols);
	if (names->dwfl)
		dwfl_end(names->dwfl);
	memset(names, 0, sizeof(*names));
}

/* How many entries begin at or before @address. */
static size_t begun(const struct name *list, size_t count, uint64_t address)
{
	size_t low = 0, high = count, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (list[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const struct name *entry(const struct name *list, size_t count,
				size_t n, uint64_t end)
{
	return n < count && list[n].start < end ? &list[n] : NULL;
}

const struct name *first_section(const struct names *names, uint64_t start,
				 uint64_t end)
{
	size_t n = begun(names->sections, names->nr_sections, start);

	if (n && names->sections[n - 1].end > start)
		return &names->sections[n - 1];
	return entry(names->sections, names->nr_sections, n, end);
}

const struct name *next_section(const struct names *names,
				const struct name *at, uint64_t end)
{
	return entry(names->sections, names->nr_sections,
		     at - names->sections + 1, end);
}

const struct name *first_symbol(const struct names *names, uint64_t start,
				uint64_t end)
{
	const struct name *section = first_section(names, start, end);
	size_t n = begun(names->symbols, names->nr_symbols, start);
	const struct name *before = n ? &names->symbols[n - 1] : NULL;
	const struct name *after = entry(names->symbols, names->nr_symbols, n,
					 end);

	if (before && before->end > start)
		return before;
	if (after || !before || (section && before->start < section->start))
		return after;
	return before;
}

const struct name *next_symbol(const struct names *names,
			       const struct name *at, uint64_t end)
{
	return entry(names->symbols, names->nr_symbols,
		     at - names->symbols + 1, end);
}

/* Without parameters, and with <> for those of templates. */
static void shorten(char *text)
{
	char *to = text, *at;
	int depth = 0;

	for (at = text; *at; at++) {
		if (*at == '<' && to - text >= 8 && !depth &&
		    !memcmp(to - 8, "operator", 8)) {
			*to++ = *at;
			continue;
		}
		if (*at == '(' && !depth && strncmp(at, "(anonymous", 10))
			break;
		if (*at == '>' && depth)
			depth--;
		if (!depth)
			*to++ = *at;
		if (*at == '<')
			depth++;
	}
	*to = '\0';
}

char *readable(const char *symbol)
{
	char *text = NULL;
	int status;

	if (!strncmp(symbol, "_Z", 2))
		text = __cxa_demangle(symbol, NULL, NULL, &status);
	if (!text)
		return strdup(symbol);
	shorten(text);
	return text;
}

/* Names come from files that may be hostile to a terminal, or to a reader. */
int harmless(char c)
{
	return c >= ' ' && c < 0x7f ? c : '?';
}

void print_name(FILE *to, const char *name)
{
	for (; *name; name++)
		putc(harmless(*name), to);
}

json_object *json_name(const char *name)
{
	char *copy = strdup(name), *c;
	json_object *string;

	for (c = copy; c && *c; c++)
		*c = harmless(*c);
	string = json_object_new_string(copy ? copy : "?");
	free(copy);
	return string;
}
