// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The inputs that fuzzing begins with: for each ELF class and byte order a
 * small program, the same with a bitmap that has learned, and an archive of
 * two such bitmaps.
 */
#include <err.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pbitmap.h>

#include "seed.h"

#define VADDR	0x10000
#define NOTE_AT	0x200
#define TEXT_AT	0x240
#define END	0x1400
#define INTERP	"/lib/ld.so"

static const char names[] = "\0.shstrtab\0.note.gnu.build-id\0.text";

static void segment(Elf *elf, int n, GElf_Word type, GElf_Word flags,
		    GElf_Off offset, GElf_Xword filesz)
{
	GElf_Phdr phdr = {
		.p_type = type,
		.p_flags = flags,
		.p_offset = offset,
		.p_vaddr = offset ? VADDR + offset : 0,
		.p_filesz = filesz,
		.p_memsz = filesz,
		.p_align = type == PT_LOAD ? 4096 : 4,
	};

	if (type == PT_LOAD)
		phdr.p_vaddr = VADDR + offset;
	gelf_update_phdr(elf, n, &phdr);
}

static void section(Elf *elf, const char *name, GElf_Word type,
		    GElf_Xword flags, GElf_Off offset, void *data, size_t size)
{
	Elf_Scn *scn = elf_newscn(elf);
	Elf_Data *content = elf_newdata(scn);
	GElf_Shdr shdr;

	gelf_getshdr(scn, &shdr);
	shdr.sh_name = (char *)memmem(names, sizeof(names), name,
				      strlen(name)) - names;
	shdr.sh_type = type;
	shdr.sh_flags = flags;
	shdr.sh_addr = flags & SHF_ALLOC ? VADDR + offset : 0;
	shdr.sh_offset = offset;
	shdr.sh_size = size;
	shdr.sh_addralign = 4;
	gelf_update_shdr(scn, &shdr);
	content->d_buf = data;
	content->d_size = size;
	content->d_type = ELF_T_BYTE;
	content->d_align = 1;
}

/* Two PT_LOADs with three pages, an interpreter, a build-id, a stack. */
static void write_program(const char *file, int class, int data)
{
	int fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0755);
	Elf *elf = elf_begin(fd, ELF_C_WRITE, NULL);
	char note[] = "\0\0\0\4\0\0\0\4\0\0\0\3GNU\0SEED";
	char text[END - TEXT_AT] = INTERP;
	GElf_Ehdr ehdr;
	int i;

	if (!elf || !gelf_newehdr(elf, class) || !gelf_newphdr(elf, 5))
		errx(1, "%s: %s", file, elf_errmsg(-1));
	for (i = 0; data == ELFDATA2LSB && i < 12; i += 4) {
		note[i] = note[i + 3];
		note[i + 3] = 0;
	}
	elf_flagelf(elf, ELF_C_SET, ELF_F_LAYOUT);
	gelf_getehdr(elf, &ehdr);
	ehdr.e_ident[EI_DATA] = data;
	ehdr.e_type = ET_DYN;
	ehdr.e_machine = class == ELFCLASS64 ? EM_PPC64 : EM_MIPS;
	ehdr.e_version = EV_CURRENT;
	ehdr.e_phoff = gelf_fsize(elf, ELF_T_EHDR, 1, EV_CURRENT);
	ehdr.e_shoff = END + sizeof(names);
	ehdr.e_shoff += -ehdr.e_shoff % 8;
	ehdr.e_shstrndx = 3;
	gelf_update_ehdr(elf, &ehdr);
	segment(elf, 0, PT_LOAD, PF_R | PF_X, 0, 0x1100);
	segment(elf, 1, PT_LOAD, PF_R | PF_W, 0x1100, END - 0x1100);
	segment(elf, 2, PT_GNU_STACK, PF_R | PF_W, 0, 0);
	segment(elf, 3, PT_NOTE, PF_R, NOTE_AT, sizeof(note) - 1);
	segment(elf, 4, PT_INTERP, PF_R, TEXT_AT, sizeof(INTERP));
	section(elf, ".note.gnu.build-id", SHT_NOTE, SHF_ALLOC, NOTE_AT, note,
		sizeof(note) - 1);
	section(elf, ".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, TEXT_AT,
		text, sizeof(text));
	section(elf, ".shstrtab", SHT_STRTAB, 0, END, (char *)names,
		sizeof(names));
	if (elf_update(elf, ELF_C_WRITE) < 0)
		errx(1, "%s: %s", file, elf_errmsg(-1));
	elf_end(elf);
	close(fd);
}

/* Its bitmap has seen two launches, which go to an archive both. */
static void learn_and_export(const char *file, const char *archive)
{
	static const char *const objects[] = { "/lib/a", "/lib/bc" };
	const unsigned char touched[] = { 1 };
	const unsigned char *vectors[] = { touched, touched };
	struct pbitmap_launch launch = {
		.sz = sizeof(launch),
		.touched = vectors,
		.objects = objects,
		.nr_objects = 2,
		.time = 1,
	};
	FILE *to = fopen(archive, "w");
	struct pbitmap *pb;
	size_t size;
	void *record;
	int i;

	if (!to || pbitmap_add(file, NULL) != PBITMAP_WRITTEN ||
	    pbitmap_open(file, NULL, &pb))
		errx(1, "%s: no bitmap", file);
	for (i = 0; i < 2; i++) {
		if (pbitmap_update(pb, &launch) ||
		    pbitmap_export(pb, file, &record, &size))
			errx(1, "%s: no record", archive);
		fwrite(record, size, 1, to);
		free(record);
		launch.nr_objects = 1;
	}
	if (fclose(to) || pbitmap_write(pb, file, NULL) < 0)
		errx(1, "%s: not written", file);
	pbitmap_close(pb);
}

void write_seeds(void)
{
	static const char *const order[] = { "", "le", "be" };
	char plain[32], annotated[32], archive[32];
	int class, data;

	elf_version(EV_CURRENT);
	for (class = ELFCLASS32; class <= ELFCLASS64; class++)
		for (data = ELFDATA2LSB; data <= ELFDATA2MSB; data++) {
			snprintf(plain, sizeof(plain), "plain%d%s",
				 class * 32, order[data]);
			snprintf(annotated, sizeof(annotated), "bitmap%d%s",
				 class * 32, order[data]);
			snprintf(archive, sizeof(archive), "archive%d%s",
				 class * 32, order[data]);
			write_program(plain, class, data);
			write_program(annotated, class, data);
			learn_and_export(annotated, archive);
		}
}
