#!/bin/sh
# Assembles the interpreters with binutils (Debian: binutils,
# binutils-aarch64-linux-gnu) and keeps only their code.
set -eu
cd "$(dirname "$0")"
build() { # architecture, prefix of its binutils
	tmp=$(mktemp -d)
	"$2as" -o "$tmp/stub.o" "$1.s"
	"$2objcopy" -O binary -j .text "$tmp/stub.o" "$1.bin"
	rm -r "$tmp"
}
# A native assembler has no prefix on its own architecture only.
prefix() {
	if command -v "$1as" >/dev/null; then echo "$1"; else echo ""; fi
}
build amd64 "$(prefix x86_64-linux-gnu-)"
build arm64 "$(prefix aarch64-linux-gnu-)"
