// The hash of the sources, and the best instruction set of the CPU at run time. Compiled without instruction set flags.
#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT const char* alexnet_sources() { return SOURCES; }

EXPORT const char* alexnet_instruction_set() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (avx512 && __builtin_cpu_supports("avx512bf16")) return "avx512bf16";
    if (avx512) return "avx512";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2";
#endif
    return "portable";
}
