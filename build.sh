#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Fetch, patch, build, run and check pbitmap. Without an argument: help.

set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$top/out
cd "$top"

JOBS=${JOBS:-$(nproc)}
V=${V:-0}

# What Debian release the sources and the guest come from.
suite=trixie
kernel_package=linux-source-6.12
glibc_package=glibc-source
kernel_patches=kernel-patches/6.12
glibc_patches=glibc-patches/2.41
kernel_config=testsuite/config/kernel.config
image_packages=testsuite/guest/packages

# Same bytes and same ccache keys whoever builds, wherever.
export KBUILD_BUILD_TIMESTAMP='2025-01-01 00:00:00' KBUILD_BUILD_USER=pbitmap
export KBUILD_BUILD_HOST=localhost CCACHE_BASEDIR=$top CCACHE_NOHASHDIR=true
export LC_ALL=C.UTF-8

cc=gcc
if command -v ccache >/dev/null; then
	cc="ccache gcc"
fi

#
# Messages, stamps and steps
#

say() { printf '%s\n' "$*"; }
notice() { printf 'build.sh: notice: %s\n' "$*" >&2; }
die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

# hash_of WORD...: one hash of the words given and of the text of functions.
hash_of() { printf '%s\0' "$@" | sha256sum | cut -d' ' -f1; }

# files_hash FILE...: one hash of names and contents, directories included.
files_hash() {
	find "$@" -type f -print0 | sort -z | xargs -0r sha256sum |
		sha256sum | cut -d' ' -f1
}

# step NAME KEY FUNCTION: run FUNCTION with its output in out/log/NAME.log,
# unless it has already succeeded with the same KEY and the same text.
step() {
	local name=$1 function=$3 stamp=$out/stamp/$1 log=$out/log/$1.log
	local key start=$SECONDS rc=0 lock
	key=$(hash_of "$2" "$(declare -f "$function")")
	mkdir -p "$out/stamp" "$out/log"
	exec {lock}>"$stamp.lock"
	flock "$lock"
	if [[ -e $stamp && $(<"$stamp") == "$key" ]]; then
		exec {lock}>&-
		return 0
	fi
	rm -f "$stamp"
	printf '%-16s ' "$name"
	if [[ $V == 1 ]]; then
		say ...
	fi
	# A plain call in a subshell: errexit would not work in a condition.
	set +e
	if [[ $V == 1 ]]; then
		(set -e; "$function" {lock}>&-) 2>&1 | tee "$log"
		rc=${PIPESTATUS[0]}
	else
		(set -e; "$function" {lock}>&-) >"$log" 2>&1 </dev/null
		rc=$?
	fi
	set -e
	if [[ $rc != 0 ]]; then
		say "failed after $((SECONDS - start)) s"
		[[ $V == 1 ]] || tail -n 20 "$log" >&2
		die "$name failed; all of its output is in ${log#"$top"/}"
	fi
	say "$((SECONDS - start)) s"
	printf '%s\n' "$key" >"$stamp"
	exec {lock}>&-
}

#
# The C library
#

# As Debian builds it, so that the result drops in place of its libc6.
configure_glibc() {
	mkdir -p "$out/build/glibc"
	cd "$out/build/glibc"
	cat >configparms <<-END
		libdir = /usr/lib/x86_64-linux-gnu
		slibdir = /lib/x86_64-linux-gnu
		rtlddir = /lib64
		complocaledir = /usr/lib/locale
		sysconfdir = /etc
	END
	CC="$cc -Wl,--hash-style=both" MAKEINFO=: \
		"$out/src/glibc/configure" --prefix=/usr --without-selinux \
		--disable-crypt --disable-nscd --disable-werror \
		--enable-bind-now --enable-fortify-source \
		--enable-stackguard-randomization \
		--enable-stack-protector=strong --enable-multi-arch
}

make_glibc() {
	make -C "$out/build/glibc" -j"$JOBS"
	rm -rf "$out/stage/glibc"
	make -C "$out/build/glibc" -j"$JOBS" install \
		DESTDIR="$out/stage/glibc" install_root="$out/stage/glibc"
}
