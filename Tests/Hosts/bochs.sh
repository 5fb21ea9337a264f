# Bochs, from the source of the Debian release after the one that is served here: the package has its debugger compiled in,
# which costs speed, and nothing is mended in it.

# bochs_program CACHE WORK: prints the path of the emulator, which is built where it is not there yet.
bochs_program() {
    local cache=$1 work=$2 program=$1/bochs-3.0/bochs
    if [ ! -x "$program" ]; then
        bochs_source "$work"
        build_bochs "$work/bochs" > "$log/build" 2>&1 || no_host "Bochs does not build: $(tail -1 "$log/build")"
        mkdir -p "$cache/bochs-3.0"
        # Another run may be about to do the same.
        strip -o "$program.$$" "$work/bochs/bochs"
        mv "$program.$$" "$program"
    fi
    echo "$program"
}

# bochs_source WORK: unpacks it in WORK/bochs. apt checks what it fetches by the archive's signature; of a source package
# the tarball alone is wanted.
bochs_source() {
    local work=$1 site options
    site=$(apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 !~ /-/ { print $3; exit }')
    [ -n "$site" ] || no_host "apt knows no archive of Debian's to fetch the source of Bochs from"
    mkdir -p "$work"/{bochs,source,apt/lists/partial}
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site trixie main" > "$work/apt/sources"
    options=(-o "Dir::Etc::SourceList=$work/apt/sources" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$work/apt/lists")
    apt-get "${options[@]}" update > "$log/apt" 2>&1 || no_host "apt-get update of trixie's sources: $(tail -1 "$log/apt")"
    (cd "$work/source" && apt-get "${options[@]}" source --download-only --only-source bochs >> "$log/apt" 2>&1) || true
    tar -xf "$work"/source/bochs_3.0*.orig.tar.xz -C "$work/bochs" --strip-components=1 2>> "$log/apt" ||
        no_host "the source of Bochs 3.0 is not to be had: $(tail -1 "$log/apt")"
}

# A guest that is entered with IF clear was left for no interrupt of its host as long as it did not touch IF itself: which
# interrupts are held back is found anew where IF changes, and not where VM entry makes the difference. SDM volume 3C,
# 26.2: external-interrupt exiting takes no notice of IF.
build_bochs() (
    set -e
    cd "$1"
    sed -i '/^  BX_CPU_THIS_PTR in_vmx_guest = true;$/,/unmask_event(BX_EVENT_INIT);/s/unmask_event(BX_EVENT_INIT);/&\n\n  handleInterruptMaskChange();/' cpu/vmx.cc
    grep -A6 'in_vmx_guest = true;' cpu/vmx.cc | grep -q handleInterruptMaskChange
    ./configure --enable-cpu-level=6 --enable-x86-64 --enable-vmx=2 --enable-svm --enable-avx --enable-evex --enable-pci \
        --enable-all-optimizations --enable-handlers-chaining --disable-debugger --disable-show-ips --disable-plugins --disable-docbook \
        --without-x11 --without-wx --without-sdl --without-sdl2 --with-nogui
    make -j"$(nproc)"
)
