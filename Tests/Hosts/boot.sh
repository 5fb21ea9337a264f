# The emulated processors. Each function returns when the host has powered off, died, or taken too long.

append="console=ttyS0,115200 quiet panic=-1"

# A processor that is stuck is told of every 20 s or so; a slow one is told of once or twice and goes on.
is_locked_up() { (($(grep -ca 'soft lockup - CPU' "$log/console" || true) >= 5)); }

# wait_for_end: until the emulator is gone, the command is done, or the kernel has died.
wait_for_end() {
    local end=$((SECONDS + seconds))
    while kill -0 "$emulator" 2> /dev/null; do
        if ((SECONDS >= end)); then
            echo "Stopped after $seconds s (HOSTS_SECONDS)." >&2
            is_late=1
            break
        fi
        if is_locked_up; then
            echo "Stopped: a processor of the host is stuck (soft lockup)." >&2
            break
        fi
        # Bochs stays when the guest has powered off; a kernel that has panicked may stay, too.
        ! grep -qa 'reboot: Power down\|end Kernel panic' "$log/console" || { sleep 1; break; }
        sleep 1
    done
    end_emulator
    wait "$emulator" 2> /dev/null || true
    emulator=
}

# One thread emulates both processors in turn. With a thread for each, QEMU 7.2 may translate an instruction while the
# other processor writes it, and keep what was there before. A kernel does write its own: making the first VM and
# ending the last one switch a static key in its scheduler (preempt_notifier_key), for which INT3 stands in the code
# for a moment. The processors then take an INT3 that memory no longer holds, again and again, with interrupts off: a
# soft lockup, or a panic, in whatever test makes or ends a VM.
boot_qemu() {
    local work=$1 kernel=$2
    (cd "$work/root" && find . | cpio -o -H newc --quiet > "$work/initrd")
    qemu-system-x86_64 -accel tcg,thread=single,tb-size=1024 -cpu EPYC,+svm,+npt -smp "${HOSTS_CPUS:-2}" -m "$memory" \
        -display none -monitor none -no-reboot -serial "file:$log/console" -serial "file:$log/output" \
        -kernel "$kernel"/boot/vmlinuz-* -initrd "$work/initrd" -append "$append" < /dev/null 2> "$log/emulator" &
    emulator=$!
    wait_for_end
}

# boot_bochs PROGRAM WORK KERNEL MODEL: from a CD, as Bochs loads no kernel by itself.
boot_bochs() {
    local program=$1 work=$2 kernel=$3 model=$4 cd=$2/cd/isolinux
    mkdir -p "$cd"
    (cd "$work/root" && find . | cpio -o -H newc --quiet | lz4 -l -1 -q -c) > "$cd/initrd"
    cp "$kernel"/boot/vmlinuz-* "$cd/vmlinuz"
    cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$cd/"
    # What the model cannot calibrate, or what only costs time here.
    cat > "$cd/isolinux.cfg" << CONFIGURATION
default host
label host
  kernel vmlinuz
  append initrd=initrd $append nokaslr mitigations=off tsc=reliable lpj=1000000 random.trust_cpu=on
CONFIGURATION
    xorriso -as mkisofs -quiet -o "$work/boot.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
        -boot-load-size 4 -boot-info-table "$work/cd" 2> /dev/null
    cat > "$work/bochsrc" << CONFIGURATION
megs: $memory
cpu: model=$model, count=1, ips=50000000, reset_on_triple_fault=0
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=$work/boot.iso, status=inserted
boot: cdrom
display_library: nogui
com1: enabled=1, mode=file, dev=$log/console
com2: enabled=1, mode=file, dev=$log/output
log: $log/bochs
panic: action=report
error: action=ignore
info: action=ignore
clock: sync=none
CONFIGURATION
    "$program" -q -f "$work/bochsrc" < /dev/null > "$log/emulator" 2>&1 &
    emulator=$!
    wait_for_end
}
