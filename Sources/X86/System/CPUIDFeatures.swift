extension CPUIDLeaf {
    /// The features that the leaf says the processor has, by the manuals' names in lower case.
    public var features: [String] {
        let index = self.index ?? 0
        return Self.tables.flatMap { table -> [String] in
            guard table.function == function, table.index == index else { return [] }
            let value = self[table.register]
            return table.names.enumerated().compactMap { bit, name in
                name != "-" && value >> UInt32(bit) & 1 == 1 ? name : nil
            }
        }
    }

    /// Bits that stand for one feature each, the lowest first; `-` for reserved ones and parts of numbers.
    private struct Table: Sendable {
        let function: UInt32
        let index: UInt32
        let register: Register
        let names: [String]

        init(_ function: UInt32, _ index: UInt32, _ register: Register, _ names: String) {
            self.function = function
            self.index = index
            self.register = register
            self.names = names.split(whereSeparator: \.isWhitespace).map(String.init)
        }
    }

    /// Source: SDM volume 2, CPUID; APM volume 3, appendix E; the kernel's Documentation/virt/kvm/x86/cpuid.rst.
    private static let tables: [Table] = [
        Table(
            1, 0, .edx,
            """
            fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 psn clfsh - ds acpi mmx
            fxsr sse sse2 ss htt tm ia64 pbe
            """),
        Table(
            1, 0, .ecx,
            """
            sse3 pclmulqdq dtes64 monitor ds_cpl vmx smx eist tm2 ssse3 cnxt_id sdbg fma cx16 xtpr pdcm - pcid
            dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline aes xsave osxsave avx f16c rdrand hypervisor
            """),
        Table(
            6, 0, .eax,
            "dtherm turbo arat - pln ecmd ptm hwp hwp_notify hwp_act_window hwp_epp hwp_pkg_req - hdc"),
        Table(
            7, 0, .ebx,
            """
            fsgsbase tsc_adjust sgx bmi1 hle avx2 fdp_excptn_only smep bmi2 erms invpcid rtm pqm zero_fcs_fds
            mpx pqe avx512f avx512dq rdseed adx smap avx512_ifma - clflushopt clwb intel_pt avx512pf avx512er
            avx512cd sha avx512bw avx512vl
            """),
        Table(
            7, 0, .ecx,
            """
            prefetchwt1 avx512_vbmi umip pku ospke waitpkg avx512_vbmi2 cet_ss gfni vaes vpclmulqdq
            avx512_vnni avx512_bitalg tme avx512_vpopcntdq - la57 - - - - - rdpid kl bus_lock_detect cldemote -
            movdiri movdir64b enqcmd sgx_lc pks
            """),
        Table(
            7, 0, .edx,
            """
            - sgx_keys avx512_4vnniw avx512_4fmaps fsrm uintr - - avx512_vp2intersect srbds_ctrl md_clear
            rtm_always_abort - rtm_force_abort serialize hybrid tsxldtrk - pconfig arch_lbr cet_ibt -
            amx_bf16 avx512_fp16 amx_tile amx_int8 ibrs_ibpb stibp l1d_flush arch_capabilities
            core_capabilities ssbd
            """),
        Table(
            7, 1, .eax,
            """
            sha512 sm3 sm4 rao_int avx_vnni avx512_bf16 lass cmpccxadd arch_perfmon_ext - fzrm fsrs fsrcs - -
            - - fred lkgs wrmsrns nmi_src amx_fp16 hreset avx_ifma - - lam msrlist
            """),
        Table(7, 2, .edx, "psfd ipred_ctrl rrsba_ctrl ddpd_u bhi_ctrl mcdt_no uc_lock_dis monitor_mitg_no"),
        Table(0xD, 1, .eax, "xsaveopt xsavec xgetbv1 xsaves xfd"),
        Table(
            0x4000_0001, 0, .eax,
            """
            kvm_clocksource kvm_nop_io_delay kvm_mmu_op kvm_clocksource2 kvm_async_pf kvm_steal_time
            kvm_pv_eoi kvm_pv_unhalt - kvm_pv_tlb_flush kvm_async_pf_vmexit kvm_pv_send_ipi kvm_poll_control
            kvm_pv_sched_yield kvm_async_pf_int kvm_msi_ext_dest_id kvm_hc_map_gpa_range
            kvm_migration_control - - - - - - kvm_clocksource_stable
            """),
        Table(
            0x8000_0001, 0, .ecx,
            """
            lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit
            wdt - lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - dbx perftsc pcx_l2i
            monitorx addr_mask_ext
            """),
        // The other bits repeat those of leaf 1 on AMD's processors.
        Table(
            0x8000_0001, 0, .edx,
            "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm "
                + "3dnowext 3dnow"),
        Table(
            0x8000_0007, 0, .edx, "ts fid vid ttp tm stc 100mhzsteps hwpstate invariant_tsc cpb eff_freq_ro"),
        Table(
            0x8000_0008, 0, .ebx,
            """
            clzero irperf xsaveerptr invlpgb rdpru - mbe - mcommit wbnoinvd - - ibpb int_wbinvd ibrs stibp
            ibrs_always_on stibp_always_on ibrs_preferred ibrs_same_mode no_efer_lmsle invlpgb_nested - ppin
            ssbd ssbd_virt_spec ssb_no cppc psfd btc_no ibpb_ret
            """),
        Table(
            0x8000_000A, 0, .edx,
            """
            npt lbrv svm_lock nrip_save tsc_scale vmcb_clean flushbyasid decodeassists pmc_virt - pausefilter -
            pfthreshold avic - v_vmsave_vmload vgif gmet x2avic sss_check v_spec_ctrl rogpt - host_mce
            tlbi_ctl vnmi ibs_virt
            """),
        Table(
            0x8000_001F, 0, .eax,
            """
            sme sev page_flush_msr sev_es sev_snp vmpl rmpquery vmpl_sss secure_tsc tsc_aux_virt
            hw_coherency 64bit_host restricted_injection alternate_injection debug_swap
            """),
        Table(
            0x8000_0021, 0, .eax,
            """
            no_nested_data_bp fs_gs_base_non_serializing lfence_serializing smm_page_cfg_lock - -
            null_sel_clr_base upper_address_ignore auto_ibrs no_smm_ctl_msr fsrs fsrc - prefetch_ctl_msr - -
            - cpuid_user_dis
            """),
    ]
}
