/* Loaded into a process by avx2_only.sh: CPUID then says that there is no AVX-512, AMX or AVX-VNNI.
 *
 * Every library here (oneDNN, MLAS, MKL, ggml, PyTorch) asks CPUID once and chooses its kernels by the answer. Intel's
 * CPUs can make that instruction fault in user mode (arch_prctl ARCH_SET_CPUID, "cpuid_fault" in /proc/cpuinfo); the
 * handler below then answers in its place. Threads and forks inherit the fault; exec loads this file anew.
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static int faults(int on) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, !on); }

static void answer(int number, siginfo_t *info, void *context) {
  greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
  const unsigned char *code = (const unsigned char *)r[REG_RIP];
  (void)info;
  if (number != SIGSEGV || (greg_t)info->si_addr == r[REG_RIP] || code[0] != 0x0f || code[1] != 0xa2) {
    signal(SIGSEGV, SIG_DFL); /* a real fault: it happens again, and ends the process */
    return;
  }
  unsigned leaf = r[REG_RAX], sub = r[REG_RCX], a, b, c, d;
  faults(0);
  __cpuid_count(leaf, sub, a, b, c, d);
  faults(1);
  if (leaf == 7 && sub == 0) {
    b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31); /* AVX-512 F to VL */
    c &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);                /* VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ */
    d &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25);     /* AMX, FP16 and the small ones */
  } else if (leaf == 7 && sub == 1) {
    a &= ~(1u << 4 | 1u << 5 | 1u << 21 | 1u << 23);                              /* AVX-VNNI, AVX512_BF16, AMX-FP16, IFMA */
    d &= ~(1u << 4 | 1u << 5 | 1u << 10 | 1u << 19);                        /* AVX-VNNI-INT8, NE-CONVERT, INT16, AVX10 */
  }
  r[REG_RAX] = a, r[REG_RBX] = b, r[REG_RCX] = c, r[REG_RDX] = d;
  r[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = answer;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, NULL);
  if (faults(1)) {
    fputs("avx2_only: this CPU or kernel cannot make CPUID fault\n", stderr);
    _exit(1);
  }
}
