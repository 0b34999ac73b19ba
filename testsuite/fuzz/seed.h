/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inputs that fuzzing begins with. */
void write_seeds(void);
