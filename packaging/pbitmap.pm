# SPDX-License-Identifier: GPL-2.0-or-later
# The sequence `dh --with pbitmap': after strip, before checksums are made.

use strict;
use warnings;
use Debian::Debhelper::Dh_Lib;

insert_after('dh_strip', 'dh_pbitmap');

1;
