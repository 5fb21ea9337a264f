# The host's root: busybox, KVM's modules, and the tests with all that they start and read, at the paths they have here.

# with_libraries FILE...: prints each with the shared libraries that it loads.
with_libraries() {
    local file
    for file in "$@"; do
        echo "$file"
        { ldd "$file" 2> /dev/null || true; } | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\/.*ld-linux/ { print $1 }'
    done | sort -u
}

# copy_programs ROOT FILE...: with their libraries, at the paths they have here.
copy_programs() {
    local to=$1 file
    shift
    with_libraries "$@" | while read -r file; do
        mkdir -p "$to$(dirname "$file")"
        cp -L "$file" "$to$file"
    done
}

# pack ROOT KERNEL COMMAND
pack() {
    local to=$1 kernel=$2 command=$3 name file
    mkdir -p "$to"/{bin,dev,etc,lib64,mods,proc,sys,tmp,usr/share,work}
    cp /bin/busybox "$to/bin/"
    for name in $(busybox --list); do [ "$name" = busybox ] || ln -s busybox "$to/bin/$name"; done
    ln -s ../bin "$to/usr/bin"
    [ ! -d /lib/terminfo ] || cp -r /lib/terminfo "$to/usr/share/"
    mkdir -p "$to/lib/locale"
    cp -r /usr/lib/locale/C.utf8 "$to/lib/locale/"
    ln -s ../lib "$to/usr/lib"
    echo 'root:x:0:0:root:/tmp:/bin/sh' > "$to/etc/passwd"

    for name in virt/lib/irqbypass arch/x86/kvm/kvm drivers/crypto/ccp/ccp arch/x86/kvm/kvm-amd \
        arch/x86/kvm/kvm-intel; do
        for file in "$kernel"/lib/modules/*/kernel/"$name".ko*; do
            case $file in
                *.ko) cp "$file" "$to/mods/" ;;
                *.ko.xz) xz -dc "$file" > "$to/mods/$(basename "$name").ko" ;;
                *.ko.zst) zstd -qdc "$file" > "$to/mods/$(basename "$name").ko" ;;
            esac
        done
    done

    # What the tests read: the sources' own tree, without what was built from it.
    mkdir -p "$to$root"
    tar -C "$root" --exclude=./.build --exclude=./.git -cf - . | tar -C "$to$root" -xf -
    # What they start, and read symbols of.
    local built=("$bundle")
    for name in kvmscope TinyVMM SymbolFixture SymbolFixture.build/code.S.o; do built+=("$build/$name"); done
    copy_programs "$to" "${built[@]}"
    ln -sfn "$build" "$to$root/.build/debug"
    # Where busybox has none, or its own knows less.
    for name in bash install script setpriv; do
        rm -f "$to/bin/$name"
        copy_programs "$to" "/usr/bin/$name"
    done
    if [ -n "${HOSTS_QEMU:-}" ]; then
        copy_programs "$to" /usr/bin/qemu-system-x86_64
        # It looks for its firmware from where its program is, which is /bin there.
        mkdir -p "$to"/share/{qemu,seabios} "$to/lib/ipxe/qemu"
        cp -L /usr/share/qemu/*.bin /usr/share/qemu/*.rom "$to/share/qemu/"
        cp -L /usr/share/seabios/*.bin "$to/share/seabios/"
        cp -L /usr/lib/ipxe/qemu/*.rom "$to/lib/ipxe/qemu/" 2> /dev/null || true
    fi
    # Most of the bundle is what a debugger would read.
    strip -g "$to$bundle"

    cp "$here/init" "$to/init"
    cp "$command" "$to/command"
}
