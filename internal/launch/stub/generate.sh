#!/bin/sh
# Assembles the interpreters with binutils (Debian: binutils,
# binutils-aarch64-linux-gnu) and keeps only their code.
# usage: generate.sh [directory to put them into [architecture...]]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- amd64 arm64
tmp=$(mktemp -d)
trap 'rm -r "$tmp"' EXIT
for arch in "$@"; do
	case $arch in
	amd64) prefix=x86_64-linux-gnu- ;;
	arm64) prefix=aarch64-linux-gnu- ;;
	*) echo "no interpreter for $arch" >&2; exit 1 ;;
	esac
	# A native assembler may have no prefix.
	command -v "${prefix}as" >/dev/null || prefix=
	"${prefix}as" -o "$tmp/$arch.o" "$here/$arch.s"
	"${prefix}objcopy" -O binary -j .text "$tmp/$arch.o" "$tmp/$arch.bin"
	cp "$tmp/$arch.bin" "$out/$arch.bin"
done
