# Debian's kernels, unpacked and not installed.

# kernel_image CACHE VERSION WORK: prints the folder that the newest linux-image-VERSION is unpacked in.
kernel_image() {
    local cache=$1 version=$2 work=$3 name
    if [ ! -d "$cache/linux-$version" ]; then
        # apt's warnings of a missing list or of its sandbox are no part of the answer.
        name=$(apt-cache search --names-only "^linux-image-${version/./\\.}\\.[^-]*(-[0-9]+)?-amd64\$" | awk '{print $1}' |
            sort -V | tail -1)
        [ -n "$name" ] || no_host "apt knows no linux-image of $version: apt-get update, or add the release that has it"
        mkdir "$work/download"
        (cd "$work/download" && apt-get download "$name" > apt.log 2>&1) ||
            no_host "apt-get download $name: $(tail -1 "$work/download/apt.log")"
        dpkg -x "$work"/download/*.deb "$work/unpacked"
        # Another run may have been faster.
        mv -T "$work/unpacked" "$cache/linux-$version" 2> /dev/null || [ -d "$cache/linux-$version" ]
    fi
    echo "$cache/linux-$version"
}
