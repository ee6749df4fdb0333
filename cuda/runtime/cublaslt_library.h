#pragma once

#include <cublasLt.h>

#include <span>

namespace weft::cuda::blas {

// The functions of cuBLASLt that weft calls.
#define WEFT_CUBLASLT_FUNCTIONS(FUNCTION)        \
  FUNCTION(cublasLtCreate)                       \
  FUNCTION(cublasLtDestroy)                      \
  FUNCTION(cublasLtGetVersion)                   \
  FUNCTION(cublasLtGetStatusName)                \
  FUNCTION(cublasLtGetStatusString)              \
  FUNCTION(cublasLtMatmul)                       \
  FUNCTION(cublasLtMatmulAlgoCapGetAttribute)    \
  FUNCTION(cublasLtMatmulAlgoGetHeuristic)       \
  FUNCTION(cublasLtMatmulDescCreate)             \
  FUNCTION(cublasLtMatmulDescDestroy)            \
  FUNCTION(cublasLtMatmulDescSetAttribute)       \
  FUNCTION(cublasLtMatmulPreferenceCreate)       \
  FUNCTION(cublasLtMatmulPreferenceDestroy)      \
  FUNCTION(cublasLtMatmulPreferenceSetAttribute) \
  FUNCTION(cublasLtMatrixLayoutCreate)           \
  FUNCTION(cublasLtMatrixLayoutDestroy)          \
  FUNCTION(cublasLtMatrixLayoutSetAttribute)

/// cuBLASLt's functions under their own names.
struct Library {
#define WEFT_MEMBER(name) decltype(&::name) name = nullptr;
  WEFT_CUBLASLT_FUNCTIONS(WEFT_MEMBER)
#undef WEFT_MEMBER
};

/// cuBLASLt, opened at the first call: it takes 150 MB of a process. Throws DeviceError, which names the files looked
/// for, where it cannot be opened; the next call then looks again.
const Library& library();

/// Opens the first of the files that can be opened, which stays open. Throws DeviceError with what the system says of
/// each of them, or where a function is missing.
Library open_library(std::span<const char* const> files);

}  // namespace weft::cuda::blas
