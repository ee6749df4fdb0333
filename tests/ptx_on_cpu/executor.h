#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

// Where tests/cuda_on_cpu hands its launches over to the PTX. The environment says what happens:
//
//   WEFT_PTX=FOLDER         Launches run the PTX of the folder's files NAME.ptx, made of cuda/NAME.cu.
//   WEFT_PTX_MODE=alone     In place of the fibers (the default).
//   WEFT_PTX_MODE=beside    And then by the fibers, on the same memory; the bytes are compared.
//   WEFT_PTX_MODE=fences    Kernels whose blocks communicate run in many schedules on an adversarial memory, whole and
//                           with each of their fences left out.
//   WEFT_PTX_REPORT=FOLDER  The process leaves a file there that says what ran (ptx_report adds them up).

namespace weft::ptx_on_cpu {

struct KernelCall {
  std::string name;  ///< for messages
  const void* kernel;
  const std::vector<unsigned char>& arguments;
  std::int64_t blocks;
  int threads;
  std::function<void()> fibers;  ///< runs the kernel as C++
};

/// Whether WEFT_PTX is set.
bool wanted();
/// Throws KernelError where the PTX breaks a rule or differs from the fibers.
void run_kernel(const KernelCall& call);
/// A product of cuBLAS, which no PTX of the library's makes, took part in what follows.
void note_product();

}  // namespace weft::ptx_on_cpu
