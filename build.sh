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
debug_config=testsuite/config/debug.config
without_config=testsuite/config/without.config
image_packages=testsuite/guest/packages
# Of each image, and its hash seed: ext4 looks for room, and lists directories, in
# an order that depends on it.
image_uuid=6d7f7b1c-8d0e-4c6a-9d2b-1f0a5b3c2e47
# The kernel's own tests, of memory management and others; one of mm is ours.
selftests=tools/testing/selftests
bench_packages=testsuite/bench/packages

# Same bytes and same ccache keys whoever builds, wherever.
export KBUILD_BUILD_TIMESTAMP='2025-01-01 00:00:00' KBUILD_BUILD_USER=pbitmap
export KBUILD_BUILD_HOST=localhost KBUILD_BUILD_VERSION=1
export CCACHE_BASEDIR=$top CCACHE_NOHASHDIR=true
export LC_ALL=C.UTF-8
# What deps installs, not what else the user may have under the same name.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH

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
	local id=$1 function=$3 stamp=$out/stamp/$1 log=$out/log/$1.log
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
	printf '%-16s ' "$id"
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
		die "$id failed; all of its output is in ${log#"$top"/}"
	fi
	say "$((SECONDS - start)) s"
	printf '%s\n' "$key" >"$stamp"
	exec {lock}>&-
}

#
# deps: what the machine needs
#

# Debian packages, for building, for the tests on the host, for the guest.
packages=(
	bc binutils bison ca-certificates ccache chrpath clang cpio
	debian-archive-keyring debugedit dejagnu dpkg dwz e2fsprogs elfutils
	expect flex g++ gawk gcc gdb gettext git gnuplot-nox gperf kmod libc6-dev
	libclang-rt-dev libdw-dev libelf-dev libjson-c-dev librsvg2-bin
	libssl-dev linux-perf lld llvm lz4 make mandoc meson mmdebstrap ninja-build
	patch patchelf perl pkg-config procps python3 python3-git python3-ply
	qemu-system-x86 rsync shellcheck sparse strace texinfo util-linux valgrind
	xz-utils zlib1g-dev
)

missing_packages() {
	comm -23 <(printf '%s\n' "${packages[@]}" | sort -u) \
		<(dpkg-query -W -f '${Package} ${db:Status-Status}\n' |
			sed -n 's/ installed$//p' | sort -u)
}

install_packages() {
	local missing
	mapfile -t missing < <(missing_packages)
	[[ $EUID == 0 ]] || die "to install ${missing[*]}: run this as root"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update
	apt-get install -y --no-install-recommends "${missing[@]}"
}

deps() {
	if [[ -n $(missing_packages) ]]; then
		rm -f "$out/stamp/deps"
		step deps "${packages[*]}" install_packages
		[[ -z $(missing_packages) ]] || die "deps: not all installed"
		# ccache may have come with them.
		exec env JOBS="$JOBS" V="$V" "$top/build.sh" "${arguments[@]}"
	fi
}

#
# fetch: source packages, through the mirror of the machine's own apt
#

# apt_sources: the machine's apt sources, one "URI SUITE KEYRING" per line.
apt_sources() {
	local file
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[[ -e $file ]] || continue
		awk '$1 == "deb" {
			key = "-"; i = 2
			if ($i ~ /^\[/)
				do {
					if (match($i, /signed-by=[^] ]*/))
						key = substr($i, RSTART + 10,
							     RLENGTH - 10)
				} while ($(i++) !~ /\]$/)
			print $i, $(i + 1), key
		}' "$file"
	done
	for file in /etc/apt/sources.list.d/*.sources; do
		[[ -e $file ]] || continue
		awk -v RS= -F '\n' '{
			uri = suite = types = ""; key = "-"; enabled = "yes"
			for (i = 1; i <= NF; i++) {
				value = $i
				sub(/^[^:]*:[ \t]*/, "", value)
				split(value, word, /[ \t]+/)
				name = tolower($i)
				if (name ~ /^uris:/) uri = word[1]
				if (name ~ /^suites:/) suite = word[1]
				if (name ~ /^types:/) types = value
				if (name ~ /^enabled:/) enabled = word[1]
				if (name ~ /^signed-by:/ && word[1] ~ /^\//)
					key = word[1]
			}
			if (types ~ /(^| )deb( |$)/ && enabled != "no")
				print uri, suite, key
		}' "$file"
	done
}

# debian_source: the first of them that is Debian itself, for our suite.
debian_source() {
	local uri suite_ key releases
	releases='buster|bullseye|bookworm|trixie|forky|sid'
	releases+='|oldoldstable|oldstable|stable|testing|unstable'
	while read -r uri suite_ key; do
		[[ $suite_ =~ ^($releases)$ && $uri != cdrom:* ]] || continue
		[[ $uri != *security* ]] || continue
		[[ $key == - ]] && key= || key=" [signed-by=$key]"
		printf 'deb%s %s %s main\n' "$key" "$uri" "$suite"
		return
	done < <(apt_sources)
	die "apt's configuration names no Debian mirror: add one"
}

# private_apt COMMAND...: apt-get with a state of its own and our one source.
private_apt() {
	local apt=$out/apt
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	apt-get -o Dir::State="$apt" -o Dir::State::lists="$apt/lists" \
		-o Dir::State::status=/dev/null -o Dir::Cache="$apt/cache" \
		-o Dir::Etc::SourceList="$apt/sources.list" \
		-o Dir::Etc::SourceParts=/dev/null \
		-o APT::Sandbox::User=root "$@"
}

# base_field DIRECTORY FIELD: what the BASE file of a patch directory says.
base_field() { sed -n "s/^$2=//p" "$1/BASE"; }

# The version that out/dl has of a package.
fetched_deb() { printf '%s\n' "$out/dl/$1"_*_all.deb; }
fetched_version() { dpkg-deb -f "$(fetched_deb "$1")" Version; }

fetch_packages() {
	mkdir -p "$out/dl" "$out/apt"
	debian_source >"$out/apt/sources.list"
	if ! private_apt -o APT::Update::Error-Mode=any update 2>&1 |
		tee "$out/apt/update.log"; then
		! grep -q NO_PUBKEY "$out/apt/update.log" ||
			die "apt has no key for $suite: upgrade the package" \
			    "debian-archive-keyring"
		die "the mirror's index of $suite cannot be used"
	fi
	cd "$out/dl"
	rm -f ./*.deb
	private_apt download "$kernel_package" "$glibc_package"
	verify_deb "$kernel_patches" "$kernel_package"
	verify_deb "$glibc_patches" "$glibc_package"
}

# The tested version has to be the tested file.
verify_deb() {
	local directory=$top/$1 package=$2
	if [[ $(fetched_version "$package") == \
	      "$(base_field "$directory" version)" ]]; then
		sha256sum -c - <<-END
			$(base_field "$directory" sha256)  $(fetched_deb "$package")
		END
	fi
}

# Another version than the tested one may do as well: it is said, no more.
compare_base() {
	local directory=$1 package=$2 version
	version=$(fetched_version "$package")
	if [[ $version != "$(base_field "$directory" version)" ]]; then
		notice "$package is $version; $directory was tested with" \
		       "$(base_field "$directory" version)"
	fi
}

fetch() {
	deps
	step fetch "$suite $(files_hash {kernel,glibc}-patches/*/BASE)" \
		fetch_packages
	compare_base "$kernel_patches" "$kernel_package"
	compare_base "$glibc_patches" "$glibc_package"
}

#
# Source trees: git repositories with a tag base and a branch pbitmap
#

# Git as if nobody had configured it, so that everybody gets the same bytes.
plain_git() {
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null \
	GIT_COMMITTER_NAME=pbitmap GIT_COMMITTER_EMAIL=pbitmap@localhost \
	GIT_AUTHOR_NAME=pbitmap GIT_AUTHOR_EMAIL=pbitmap@localhost \
	git "$@"
}

unpack_linux() {
	mkdir "$out/src/unpack"
	dpkg-deb --fsys-tarfile "$(fetched_deb "$kernel_package")" |
		tar x -C "$out/src/unpack"
	tar xf "$out/src/unpack/usr/src/$kernel_package.tar.xz" \
		-C "$out/src/unpack"
	mv "$out/src/unpack/$kernel_package" "$out/src/linux.new"
}

# The tarball has Debian's patches applied.
unpack_glibc() {
	mkdir "$out/src/unpack"
	dpkg-deb --fsys-tarfile "$(fetched_deb "$glibc_package")" |
		tar x -C "$out/src/unpack"
	tar xf "$out"/src/unpack/usr/src/glibc/glibc-*.tar.xz \
		-C "$out/src/unpack"
	mv "$out"/src/unpack/glibc-* "$out/src/glibc.new"
}

# commit_base TREE VERSION: the unpacked tree as one commit.
commit_base() {
	local tree=$1 version=$2
	plain_git init -q -b pbitmap "$tree"
	plain_git -C "$tree" config gc.auto 0
	plain_git -C "$tree" config core.compression 0
	plain_git -C "$tree" add -f -A .
	GIT_AUTHOR_DATE=2025-01-01T00:00:00Z \
	GIT_COMMITTER_DATE=2025-01-01T00:00:00Z \
		plain_git -C "$tree" commit -q -m "base: $version"
	plain_git -C "$tree" tag base
}

apply_series() {
	local tree=$1 patches=$2 series
	shopt -s nullglob
	series=("$patches"/[0-9]*.patch)
	[[ ${#series[@]} -gt 0 ]] || return 0
	if ! plain_git -C "$tree" am -q --committer-date-is-author-date \
		"${series[@]/#/$top/}"; then
		plain_git -C "$tree" am --abort
		die "$patches does not apply to" \
		    "$(plain_git -C "$tree" log -1 --format=%s base)"
	fi
}

# format_series TREE DIRECTORY: the commits since base as patches.
format_series() {
	plain_git -C "$1" format-patch -q -N --zero-commit --no-signature \
		--full-index -o "$2" base..HEAD
}

# series_is TREE PATCHES: whether the tree's commits are just the patches.
series_is() {
	local scratch rc=0
	scratch=$(mktemp -d)
	format_series "$1" "$scratch"
	diff -rq -x BASE -x '*.txt' "$scratch" "$2" >/dev/null || rc=1
	rm -rf "$scratch"
	return $rc
}

is_dirty() { [[ -n $(plain_git -C "$1" status --porcelain) ]]; }

# The commit that apply_series made, or that refresh made patches from.
mark_series() { plain_git -C "$1" update-ref refs/pbitmap/series HEAD; }
untouched() {
	! is_dirty "$1" && [[ $(plain_git -C "$1" rev-parse HEAD) == \
		"$(plain_git -C "$1" rev-parse -q --verify refs/pbitmap/series)" ]]
}

create_tree() {
	rm -rf "$out/src/unpack" "$out/src/$name.new"
	mkdir -p "$out/src"
	"unpack_$name"
	rm -rf "$out/src/unpack"
	commit_base "$out/src/$name.new" "$(fetched_version "$package")"
	mv "$out/src/$name.new" "$out/src/$name"
	renew_series
}

renew_series() {
	plain_git -C "$out/src/$name" reset -q --hard base
	apply_series "$out/src/$name" "$patches"
	mark_series "$out/src/$name"
}

# source_tree NAME PACKAGE PATCHES: out/src/NAME with the series applied.
# Whoever works in the tree keeps what he has there: it is only ever replaced
# while it is what this function made of it.
source_tree() {
	local name=$1 package=$2 patches=$3 tree=$out/src/$1
	if [[ ! -e $tree ]]; then
		fetch
		rm -f "$out/stamp/source-$name"
		step "source-$name" "$patches" create_tree
	elif series_is "$tree" "$patches" && ! is_dirty "$tree"; then
		mark_series "$tree"
	elif untouched "$tree"; then
		rm -f "$out/stamp/series-$name"
		step "series-$name" "$patches" renew_series
	else
		notice "out/src/$name is not what $patches gives:" \
		       "used as it is"
	fi
}

linux_tree() { source_tree linux "$kernel_package" "$kernel_patches"; }
glibc_tree() { source_tree glibc "$glibc_package" "$glibc_patches"; }

# tree_hash TREE: a hash of all that a build of the tree reads.
tree_hash() {
	hash_of "$(plain_git -C "$1" rev-parse 'HEAD^{tree}')" \
		"$(plain_git -C "$1" diff HEAD | sha256sum)" \
		"$(cd "$1" && plain_git ls-files -z -o --exclude-standard |
			xargs -0r sha256sum)"
}

refresh() {
	local tree
	for tree in linux glibc; do
		[[ -e $out/src/$tree ]] || die "out/src/$tree is not there"
		if is_dirty "$out/src/$tree"; then
			notice "out/src/$tree has changes that are not committed"
		fi
	done
	refresh_series linux "$kernel_patches"
	refresh_series glibc "$glibc_patches"
}

refresh_series() {
	local tree=$out/src/$1 patches=$2
	rm -f "$patches"/[0-9]*.patch
	format_series "$tree" "$top/$patches"
	mark_series "$tree"
	say "$patches: $(plain_git -C "$tree" rev-list --count base..HEAD) patches"
}

# Real git am on base, and the same patches back. A clone that shares the
# objects and checks out no more than the series touches takes a second.
round_trip() {
	local scratch=$out/scratch/$name paths
	rm -rf "$scratch" "$scratch.series"
	mapfile -t paths < <(cat "$patches"/[0-9]*.patch |
		plain_git apply --numstat | cut -f3 | sort -u)
	plain_git clone -q --shared --no-checkout "$out/src/$name" "$scratch"
	plain_git -C "$scratch" sparse-checkout set --no-cone \
		.gitattributes "${paths[@]/#//}"
	plain_git -C "$scratch" checkout -q --detach base
	apply_series "$scratch" "$patches"
	format_series "$scratch" "$scratch.series"
	diff -r -x BASE -x '*.txt' "$scratch.series" "$patches"
	if [[ $name == linux ]]; then
		cd "$out/src/linux"
		scripts/checkpatch.pl --strict --no-summary --terse \
			"$scratch.series"/*.patch
	fi
	rm -rf "$scratch" "$scratch.series"
}

check_series() {
	local name=$1 patches=$2
	step "check-$name" \
		"$(files_hash "$patches") $(plain_git -C "$out/src/$name" \
			rev-parse base)" round_trip
}

check_patches() {
	deps
	linux_tree
	glibc_tree
	check_series linux "$kernel_patches"
	check_series glibc "$glibc_patches"
	say "check-patches: both series apply, come back byte for byte," \
	    "and checkpatch has nothing to say"
}

#
# kernel
#

# In out/build/$flavour, configured by the files in configs.
make_kernel() {
	local build=$out/build/$flavour line
	local make=(make -C "$out/src/linux" "O=$build" "CC=$cc" -j"$JOBS")
	mkdir -p "$build"
	"${make[@]}" -s KCONFIG_CONFIG="$build/.config.new" tinyconfig
	"$out/src/linux/scripts/kconfig/merge_config.sh" -m -O "$build" \
		"$build/.config.new" "${configs[@]}"
	"${make[@]}" -s olddefconfig
	rm -f "$build/.config.new"
	# An option whose dependencies are not met is dropped silently. Of the
	# files that name one the last decides.
	cat "${configs[@]}" | grep CONFIG_ | tac | awk '
		{ name = $1 == "#" ? $2 : $1; sub(/=.*/, "", name) }
		!seen[name]++' | while read -r line; do
		case $line in
		CONFIG_*)
			grep -qx "$line" "$build/.config" ||
				die "$line: not in the configuration" ;;
		*"is not set")
			! grep -q "^${line:2:-11}=" "$build/.config" ||
				die "$line: but it is" ;;
		esac
	done
	"${make[@]}" bzImage
}

check_kernel() {
	deps
	linux_tree
	testsuite/check-kernel "$out" "$@"
}

# kernel_flavour STEP FLAVOUR CONFIG...
kernel_flavour() {
	local step=$1 flavour=$2 configs=("${@:3}")
	deps
	linux_tree
	step "$step" "$(tree_hash "$out/src/linux") $(gcc --version) $(
		files_hash "${configs[@]}")" make_kernel
}

kernel() { kernel_flavour kernel linux "$kernel_config"; }
# The kernel as Debian has it, in our configuration. See make_unpatched.
make_kernel_base() {
	local tree=$out/src/linux out=$out/base
	local flavour=linux configs=("$kernel_config" "$without_config")
	rm -rf "$out/src/linux" "$out/build/linux"
	mkdir -p "$out/src"
	plain_git clone -q --shared --no-checkout "$tree" "$out/src/linux"
	plain_git -C "$out/src/linux" checkout -q --detach base
	make_kernel
}

kernel_base() {
	deps
	linux_tree
	step kernel-base "$(plain_git -C "$out/src/linux" rev-parse base) $(
		gcc --version) $(files_hash "$kernel_config" \
		"$without_config")" make_kernel_base
}

# The patched kernel with a model of a rotating disk, in a tree of its own.
make_kernel_rotating() {
	local tree=$out/src/linux out=$out/rotating
	local flavour=linux configs=("$kernel_config")
	rm -rf "$out/src/linux" "$out/build/linux"
	mkdir -p "$out/src"
	plain_git clone -q --shared --no-checkout "$tree" "$out/src/linux"
	plain_git -C "$out/src/linux" checkout -q --detach pbitmap
	cp testsuite/bench/rotating.c "$out/src/linux/drivers/block/"
	echo 'obj-y += rotating.o' >>"$out/src/linux/drivers/block/Makefile"
	make_kernel
}

kernel_rotating() {
	deps
	linux_tree
	step kernel-rotating "$(plain_git -C "$out/src/linux" rev-parse \
		pbitmap) $(gcc --version) $(files_hash "$kernel_config" \
		testsuite/bench/rotating.c)" make_kernel_rotating
}

kernel_debug() {
	kernel_flavour kernel-debug linux-debug "$kernel_config" "$debug_config"
}

#
# glibc
#

# As Debian builds it, so that the result drops in place of its libc6.
configure_glibc() {
	rm -rf "$out/build/glibc"
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

# glibc's make does not look at the list of tunables again: a new one, a new
# directory.
glibc() {
	deps
	glibc_tree
	step glibc-configure "$(gcc --version) $(
		plain_git -C "$out/src/glibc" rev-parse base) $(
		cat "$out/src/glibc/elf/dl-tunables.list")" configure_glibc
	step glibc "$(tree_hash "$out/src/glibc") $(
		cat "$out/stamp/glibc-configure")" make_glibc
}

# The same without our patches, to compare with. Under out/base all lies as
# under out, so that ccache finds what both have in common.
make_unpatched() {
	local tree=$out/src/glibc out=$out/base
	rm -rf "$out/src/glibc"
	mkdir -p "$out/src"
	plain_git clone -q --shared --no-checkout "$tree" "$out/src/glibc"
	plain_git -C "$out/src/glibc" checkout -q --detach base
	configure_glibc
	make -C "$out/build/glibc" -j"$JOBS"
}

unpatched() {
	deps
	glibc_tree
	step unpatched "$(gcc --version) $(
		plain_git -C "$out/src/glibc" rev-parse base) $(
		declare -f configure_glibc)" make_unpatched
}

suites_unpatched() {
	testsuite/glibc-check full "$out/base/src/glibc" \
		"$out/base/build/glibc" >"$out/glibc-check/unpatched"
}

suites_patched() {
	testsuite/glibc-check full "$out/src/glibc" "$out/build/glibc" \
		>"$out/glibc-check/patched"
}

glibc_check() {
	unpatched
	mkdir -p "$out/glibc-check"
	step suites-unpatched "$(cat "$out/stamp/unpatched") $(
		files_hash testsuite/glibc-check)" suites_unpatched
	glibc
	step suites-patched "$(cat "$out/stamp/glibc") $(
		files_hash testsuite/glibc-check)" suites_patched
	testsuite/glibc-check compare "$out/src/glibc" "$out/build/glibc" \
		"$out/glibc-check/unpatched" "$out/glibc-check/patched"
}

# What a user compiles and links against, and runs programs in: the C library
# with the kernel's headers, and the compiler's own libraries. It may be moved.
make_sysroot() {
	local root=$out/sysroot directory library
	rm -rf "$root"
	mkdir -p "$root/usr"
	make -s -C "$out/src/linux" "O=$out/build/linux" \
		"INSTALL_HDR_PATH=$root/usr" headers_install
	for directory in lib lib64 usr/include usr/lib; do
		mkdir -p "$root/$directory"
		cp -a "$out/stage/glibc/$directory/." "$root/$directory"
	done
	for library in libgcc_s.so.1 libstdc++.so.6; do
		cp "$(g++ -print-file-name=$library)" \
			"$root/lib/x86_64-linux-gnu"
	done
	install -m 755 glibc-patches/sysroot-run "$root/run"
}

sysroot() {
	glibc
	linux_tree
	step sysroot "$(cat "$out/stamp/glibc") $(tree_hash "$out/src/linux") $(
		files_hash glibc-patches/sysroot-run)" make_sysroot
}

#
# tools
#

make_tools() {
	[[ -e $out/build/tools/build.ninja ]] ||
		meson setup "$out/build/tools" .
	ninja -C "$out/build/tools" -j"$JOBS"
}

tools() {
	deps
	step tools "$(files_hash meson* libpbitmap tools packaging)" \
		make_tools
}

#
# image: the guest's root, and the payload on its second disk
#

# debian_root VARIANT PACKAGES ROOT [OPTION...]: a Debian root with the packages
# of a file, as a directory or an archive.
debian_root() {
	local variant=$1 list root=$3
	list=$(sed '/^#/d' "$2" | paste -sd,)
	shift 3
	mkdir -p "${root%/*}" "$out/apt"
	debian_source >"$out/apt/sources.list"
	apt-config dump | grep '^Acquire::http.*Proxy' >"$out/apt/proxy" || :
	rm -rf "$root"
	mmdebstrap --variant="$variant" --include="$list" \
		--aptopt="$out/apt/proxy" "$@" \
		"$suite" "$root" "$out/apt/sources.list"
}

# A root for the guest: in directory $root, of the packages in file $list. Its
# date, that of $root.date, is the newest of what came in a package.
make_root() {
	mkdir -p "${root%/*}"
	: >"$root.date"
	debian_root apt "$list" "$root" \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/info/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*'
	rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*
	: >"$root/etc/fstab"
	touch -d "@$(find "$root" ! -newer "$root.date" -printf '%T@\n' |
		sort -n | tail -n 1)" "$root.date"
}

# date_root: give the date of $root to what is younger, having been made here,
# lest images differ by when they were made. Fonts are cached by such dates.
date_root() {
	find "$root" -newer "$root.date" -exec touch -h -r "$root.date" {} +
	if [[ -x $root/usr/bin/fc-cache ]]; then
		chroot "$root" fc-cache -rs
		find "$root" -newer "$root.date" \
			-exec touch -h -r "$root.date" {} +
	fi
}

# make_ext4 ROOT IMAGE: the file system, without mounting anything. By the mke2fs
# of the root, which heeds SOURCE_DATE_EPOCH, and as large as its files want: how
# large a directory is depends on the host's file system.
make_ext4() {
	local lib=$1/lib/x86_64-linux-gnu size
	size=$(find "$1" -type f -printf '%s\n' |
		awk '{ bytes += $1 } END { print int(bytes / 2 ^ 20) }')
	rm -f "$2"
	MKE2FS_CONFIG=$1/etc/mke2fs.conf \
		"$lib/ld-linux-x86-64.so.2" --library-path "$lib" \
		"$1/sbin/mke2fs" -q -t ext4 -L root -b 4096 -U "$image_uuid" \
		-E "hash_seed=$image_uuid,lazy_itable_init=0,lazy_journal_init=0" \
		-d "$1" "$2" "$((size * 110 / 100 + 160))M"
}

# Our C library over Debian's, file by file: the same names, without debug
# information.
make_image() {
	local stage=$out/stage/glibc file target
	for file in "$stage"/lib/x86_64-linux-gnu/*.so* "$stage"/lib64/*; do
		target=$root/lib/x86_64-linux-gnu/${file##*/}
		if [[ -f $target && ! -L $target && ! -L $file ]]; then
			strip -g -o "$target.new" "$file"
			mv "$target.new" "$target"
		fi
	done
	install -m 755 "$stage/usr/bin/ldd" "$root/usr/bin/ldd"
	chroot "$root" /lib64/ld-linux-x86-64.so.2 --version
	[[ -z $files ]] || cp -r --preserve=mode "$files/." "$root"
	date_root
	SOURCE_DATE_EPOCH=$(stat -c %Y "$root.date") make_ext4 "$root" "$root.img"
}

# guest_image STEP ROOT PACKAGES [FILES]: ROOT.img, with files besides.
guest_image() {
	local id=$1 root=$2 list=$3 files=${4:-}
	[[ $EUID == 0 ]] || die "$id: run this as root"
	glibc
	step "root-$id" "$suite $(files_hash "$list")" make_root
	step "$id" "$image_uuid $(cat "$out/stamp/root-$id" "$out/stamp/glibc") $(
		[[ -z $files ]] || files_hash "$files")" make_image
}

image() { guest_image image "$out/image/root" "$image_packages"; }

bench_image() {
	guest_image bench-image "$out/image/bench" "$bench_packages" \
		testsuite/bench/root
}

make_payload() {
	local stage=$out/payload
	local options=(--sort=name --owner=0 --group=0 -C "$stage")
	rm -rf "$stage"
	mkdir -p "$stage/pbitmap/bin" "$stage/pbitmap/t"
	install -m 755 testsuite/guest/{init,copycost,measure,outside,reads} \
		testsuite/guest/{record,scale,waits} \
		"$out/build/tools/tools/pbitmap" "$stage/pbitmap/bin"
	gcc -O2 -Wall -static -o "$stage/pbitmap/bin/launch" \
		testsuite/guest/launch.c
	install -m 644 testsuite/guest/launches "$stage/pbitmap"
	make -C testsuite/pbitmap.guest OUT="$stage/pbitmap/t"
	make -C "$out/src/linux/$selftests/mm" OUTPUT="$stage/pbitmap/t" \
		KHDR_INCLUDES="-I$top/libpbitmap/uapi" \
		"$stage/pbitmap/t/madv_pbitmap"
	tar cSf "$out/payload.tar" "${options[@]}" pbitmap
	# For guests that run no tests.
	tar cSf "$out/measure.tar" "${options[@]}" --exclude=pbitmap/t pbitmap
}

payload() {
	tools
	linux_tree
	step payload "$(files_hash testsuite/guest testsuite/pbitmap.guest \
		"$out/src/linux/$selftests/mm/madv_pbitmap.c") $(
		cat "$out/stamp/tools")" make_payload
}

# The same image with a bitmap in each ELF file below /usr, by force also where
# it is set-id or linked twice, and with predictions that a launch could have
# left there.
make_annotated() {
	local root=$out/image/annotated list=$out/image/annotated.list
	rm -rf "$root"
	cp -a --reflink=auto "$out/image/root" "$root"
	find "$root/usr" -xdev -type f -size +0 | perl -ne 'chomp;
		open F, "<", $_ and read(F, $b, 4) == 4 and $b eq "\x7fELF"
			and print "$_\n"' >"$list"
	# 4: some were refused, and it says which.
	"$out/build/tools/tools/pbitmap" add --force -q "@$list" || [[ $? == 4 ]]
	xargs -a "$list" -n 1 "$out/build/tools/tools/pbitmap" show -q \
		2>/dev/null | grep -xF -f "$list" >"$list.done"
	say "$(wc -l <"$list.done") of $(wc -l <"$list") files have bitmaps"
	[[ $(wc -l <"$list.done") -ge 800 ]]
	awk '{ print $0, "predict:" NR }' "$list.done" |
		xargs -n 2 "$out/payload/pbitmap/t/edit"
	make_ext4 "$root" "$out/image/annotated.img"
	rm -rf "$root"
}

annotated() {
	image
	payload
	step annotated "$(cat "$out/stamp/image" "$out/stamp/payload")" \
		make_annotated
}

#
# stock: Debian's own kernel
#

fetch_stock() {
	local package
	package=$(private_apt -s -qq install linux-image-amd64 |
		sed -n 's/^Inst \(linux-image-[0-9][^ ]*\) .*/\1/p')
	[[ -n $package ]]
	rm -rf "$out/dl/stock"
	mkdir "$out/dl/stock"
	cd "$out/dl/stock"
	private_apt download "$package"
}

make_stock() {
	testsuite/guest/stock "$out"/dl/stock/*.deb "$out/image/root" \
		"$out/stock"
}

stock() {
	fetch
	step fetch-stock "$(cat "$out/stamp/fetch")" fetch_stock
	step stock "$(cat "$out/stamp/fetch-stock" "$out/stamp/image") $(
		files_hash testsuite/guest/stock)" make_stock
}

#
# demo, check
#

demo() {
	kernel
	image
	payload
	[[ $# -gt 0 ]] || set -- ffmpeg -version
	mkdir -p "$out/demo"
	testsuite/guest/demo "$out" "$@"
}

bench() {
	kernel
	if [[ " $* " == *" --quick "* ]]; then
		image
	else
		kernel_rotating
		bench_image
	fi
	payload
	testsuite/bench/run "$@" "$out"
}

traces() {
	kernel
	image
	payload
	testsuite/traces "$out"
}

cost() {
	kernel
	kernel_base
	image
	payload
	mkdir -p "$out/cost"
	gcc -O2 -Wall -static -o "$out/cost/faults" testsuite/guest/faults.c
	testsuite/guest/cost "$out" \
		"$out/base/build/linux/arch/x86/boot/bzImage" "$@"
}

make_selftests() {
	local directory
	rm -rf "$out/selftests"
	for directory in mm exec; do
		mkdir -p "$out/selftests/$directory"
	done
	make -C "$out/src/linux/$selftests/mm" OUTPUT="$out/selftests/mm" \
		KHDR_INCLUDES="-I$top/libpbitmap/uapi" \
		"$out"/selftests/mm/{madv_populate,map_populate,mlock2-tests} \
		"$out"/selftests/mm/{mremap_test,transhuge-stress}
	make -C "$out/src/linux/$selftests/exec" OUTPUT="$out/selftests/exec"
	cp "$out/src/linux/$selftests"/exec/{Makefile,binfmt_script.py} \
		"$out/selftests/exec"
}

selftests() {
	kernel
	kernel_base
	image
	payload
	step selftests "$(tree_hash "$out/src/linux")" make_selftests
	testsuite/selftests "$out" "$out/base/build/linux/arch/x86/boot/bzImage"
}

startup() {
	kernel
	image
	payload
	unpatched
	[[ $# -gt 0 ]] || set -- ffmpeg -version
	testsuite/guest/startup "$out" "$@"
}

check() {
	kernel
	sysroot
	annotated
	stock
	check_patches
	testsuite/run
}

#
# Long forms of what check does in short
#

fuzz() {
	deps
	testsuite/fuzz/run "$out" "${1:-1800}"
}

coverage() {
	deps
	testsuite/coverage "$out"
}

# Unpacked only: nothing of the desktop is started but single programs.
make_desktop() {
	debian_root extract testsuite/sweep/packages "$out/sweep/root.tar"
}

sweep() {
	[[ $EUID == 0 ]] || die "sweep: run this as root"
	tools
	step desktop "$suite $(files_hash testsuite/sweep/packages)" \
		make_desktop
	testsuite/sweep/run "$out"
}

carry() {
	kernel
	image
	payload
	[[ $# -gt 0 ]] || set -- ffmpeg -version
	testsuite/carry "$out" "$@"
}

# The Debian package that is built with bitmaps, and its source.
packaged='file'

fetch_packaged() {
	rm -rf "$out/package/source"
	mkdir -p "$out/package/source"
	debian_source | sed 'p; s/^deb /deb-src /' >"$out/apt/sources.list"
	private_apt -o APT::Update::Error-Mode=any update
	cd "$out/package/source"
	private_apt source --download-only "$packaged"
}

make_build_root() {
	debian_root buildd testsuite/package/packages "$out/package/root"
}

package() {
	[[ $EUID == 0 ]] || die "package: run this as root"
	kernel
	image
	payload
	step package-root "$suite $(files_hash testsuite/package/packages)" \
		make_build_root
	step package-source "$suite $packaged" fetch_packaged
	testsuite/package/run "$out" "$packaged"
}

debug() {
	kernel_debug
	image
	payload
	testsuite/run debug "$@"
}

# soak [SECONDS [RACE...]]
soak() {
	export SOAK=${1:-60}
	[[ $# -le 1 ]] || export RACES="${*:2}"
	debug pbitmap.guest/soak.exp
}

# powercut [POINTS]: on the kernel as it is used, which is faster.
powercut() {
	kernel
	image
	payload
	POINTS=${1:-120} testsuite/run guest pbitmap.guest/powercut.exp
}

clean() {
	local tree
	for tree in linux glibc; do
		if [[ -e $out/src/$tree ]] && ! untouched "$out/src/$tree"; then
			die "out/src/$tree has work that is in no patch:" \
			    "refresh, or remove it yourself"
		fi
	done
	rm -rf "$out"
}

built() {
	if [[ -e $1 ]]; then
		date -r "$1" '+built %Y-%m-%d %H:%M'
	else
		say "-"
	fi
}

help() {
	cat <<-END
	usage: [V=1] [JOBS=N] ./build.sh VERB

	  deps           install the Debian packages that are missing (root)
	  fetch          download the kernel's and glibc's source packages
	  kernel         patch and build the kernel
	  glibc          patch and build the C library
	  glibc-check    run five of its own test suites with and without the
	                 patches, and compare; takes long
	  sysroot        make out/sysroot: compile, link and run with that library
	  tools          build libpbitmap and the pbitmap command
	  image          make the guest's root and payload
	  demo [PROGRAM [ARGUMENT...]]
	                 measure its start, cold and warm, with and without
	                 bitmaps, in virtual time (default: ffmpeg -version)
	  bench [--quick] [--jobs N] [--runs N] [--programs NAME,...]
	        [--disks NAME,...]
	                 measure starts of programs from several disks by
	                 several methods; report, tables, plots in out/bench.
	                 --quick checks the instrument
	  traces         record launches in the guest, and print what predictors
	                 make of them
	  startup [PROGRAM [ARGUMENT...]]
	                 measure what the patched dynamic linker costs a program
	                 without bitmaps, against the unpatched one
	  cost [PROGRAM [ARGUMENT...]]
	                 measure what pbitmap costs where it is of no use: an
	                 exec, a fault, a warm and a recorded start
	  check          run all tests
	  debug [TEST]   run the guest's tests, longer, on a kernel with KASAN,
	                 lockdep and other checks
	  soak [SECONDS [RACE...]]
	                 races of launches against what happens to their files,
	                 mappings and processes, on that kernel (default: 60
	                 seconds each of all)
	  powercut [POINTS]
	                 cut the power of a guest that writes bitmaps back
	                 (default: at 120 points each on ext4 and xfs)
	  fuzz [SECONDS] fuzz the library (default: 1800)
	  coverage       how many lines of the library the tests run
	  sweep          let other tools work on a desktop with bitmaps
	  carry [PROGRAM [ARGUMENT...]]
	                 carry what one guest has learned to another
	  package        build a Debian package with bitmaps learned in the guest
	  refresh        make the patches anew from the commits in out/src
	  check-kernel [CONFIGURATION...]
	                 compile what the kernel series touches, patch by patch,
	                 for several machines (default: all of x86_64, small,
	                 i386, arm64, nommu)
	  selftests      run upstream's own tests of mm and exec on a kernel
	                 without and with the patches, and compare
	  check-patches  do they apply, and come back byte for byte?
	  clean          remove out/, unless it holds work of yours

	Each verb does first what it needs; what is built is not built again.
	V=1 shows the output that else goes to out/log/. JOBS is how many
	processes a build may use.

	kernel   $(built out/build/linux/arch/x86/boot/bzImage)
	glibc    $(built out/stage/glibc)
	tools    $(built out/build/tools/tools/pbitmap)
	image    $(built out/image/root.img)
	END
}

arguments=("$@")
case ${1:-help} in
deps)
	deps
	say "deps: all there" ;;
fetch)
	fetch
	say "$kernel_package $(fetched_version "$kernel_package")," \
	    "$glibc_package $(fetched_version "$glibc_package")" ;;
glibc-check)
	glibc_check ;;
kernel | glibc | sysroot | tools | traces | check | coverage | selftests | \
sweep | package | refresh | clean | help)
	"${1:-help}" ;;
check-patches)
	check_patches ;;
check-kernel)
	check_kernel "${@:2}" ;;
image)
	image
	payload ;;
demo | bench | debug | soak | powercut | fuzz | carry | cost | startup)
	"$@" ;;
*)
	help >&2
	exit 2 ;;
esac
