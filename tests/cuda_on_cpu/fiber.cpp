#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#if WEFT_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// Saves what a callee must keep and goes on where `to` was left. By a jump: the processor would expect a `ret` to go
// back to this call, and guess wrong every time.
extern "C" void weft_switch_stack(void** from, void* to);
asm(R"(
.text
.globl weft_switch_stack
.hidden weft_switch_stack
.type weft_switch_stack, @function
weft_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rdx
  jmp *%rdx
.size weft_switch_stack, . - weft_switch_stack
)");
#endif

namespace weft::cuda_on_cpu {

namespace {

constexpr std::size_t kGuardBytes = 4096;
constexpr std::size_t kStackBytes = (WEFT_ASAN || WEFT_TSAN ? 256 : 64) << 10;  // sanitizers report on these stacks
constexpr std::size_t kColours = 16, kColourBytes = 256;

// What is resuming a fiber.
struct Host {
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t context;
#endif
  void* sanitizer = nullptr;
  const void* stack = nullptr;
  std::size_t stack_bytes = 0;
} host;

char* new_stack() {
  void* memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) throw std::bad_alloc();
  return static_cast<char*>(memory) + kGuardBytes;
}

}  // namespace

void prepare(Fiber& fiber, void (*entry)(), [[maybe_unused]] int colour) {
  if (fiber.stack == nullptr) fiber.stack = new_stack();
  unpoison(fiber.stack, kStackBytes);
#if WEFT_TSAN
  if (fiber.sanitizer != nullptr) {
    void* const self = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(fiber.sanitizer, __tsan_switch_to_fiber_no_sync);
    __tsan_ignore_thread_end();
    __tsan_switch_to_fiber(self, 0);  // what it did comes before what its successor does on the same stack
    __tsan_destroy_fiber(fiber.sanitizer);
  }
  fiber.sanitizer = __tsan_create_fiber(0);
#else
  fiber.sanitizer = nullptr;
#endif
#if defined(__x86_64__)
  char* const top = fiber.stack + kStackBytes - static_cast<std::size_t>(colour) % kColours * kColourBytes;
  auto* words = reinterpret_cast<void**>(top);
  *--words = nullptr;  // entry's return address
  *--words = reinterpret_cast<void*>(entry);
  for (int callee_saved = 0; callee_saved < 6; ++callee_saved) *--words = nullptr;
  fiber.stack_pointer = words;
#else
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry, 0);
#endif
}

void fiber_entered() {
#if WEFT_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &host.stack, &host.stack_bytes);
#endif
}

void resume(Fiber& fiber) {
#if WEFT_ASAN
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, fiber.stack, kStackBytes);
#endif
#if WEFT_TSAN
  host.sanitizer = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(fiber.sanitizer, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__x86_64__)
  weft_switch_stack(&host.stack_pointer, fiber.stack_pointer);
#else
  swapcontext(&host.context, &fiber.context);
#endif
#if WEFT_ASAN
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

void suspend(Fiber& fiber) {
#if WEFT_ASAN
  __sanitizer_start_switch_fiber(&fiber.sanitizer, host.stack, host.stack_bytes);
#endif
#if WEFT_TSAN
  __tsan_switch_to_fiber(host.sanitizer, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__x86_64__)
  weft_switch_stack(&fiber.stack_pointer, host.stack_pointer);
#else
  swapcontext(&fiber.context, &host.context);
#endif
#if WEFT_ASAN
  __sanitizer_finish_switch_fiber(fiber.sanitizer, &host.stack, &host.stack_bytes);
#endif
}

}  // namespace weft::cuda_on_cpu
