#include "cuda/runtime/cublaslt_library.h"

#include <dlfcn.h>

#include <string>

#include "weft/error.h"

namespace weft::cuda::blas {

namespace {

constexpr const char* kWhat = "cuBLASLt, which multiplies matrices on a GPU, ";

}  // namespace

Library open_library(std::span<const char* const> files) {
  void* handle = nullptr;
  std::string tried;
  for (const char* file : files) {
    handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) break;
    tried += (tried.empty() ? "" : "; ") + std::string(dlerror());
  }
  if (handle == nullptr) throw DeviceError(kWhat + ("cannot be opened: " + tried));
  Library library;
  const auto find = [handle](auto& function, const char* name) {
    void* const address = dlsym(handle, name);
    if (address == nullptr) throw DeviceError(kWhat + ("lacks a function: " + std::string(dlerror())));
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(address);
  };
#define WEFT_FIND(name) find(library.name, #name);
  WEFT_CUBLASLT_FUNCTIONS(WEFT_FIND)
#undef WEFT_FIND
  return library;
}

#ifdef WEFT_CUBLASLT_STATIC

// The toolkit has the archive alone: it is part of the program.
const Library& library() {
#define WEFT_LINKED(name) .name = &::name,
  static constexpr Library linked = {WEFT_CUBLASLT_FUNCTIONS(WEFT_LINKED)};
#undef WEFT_LINKED
  return linked;
}

#else

const Library& library() {
#define WEFT_TEXT_OF(number) #number
#define WEFT_TEXT(number) WEFT_TEXT_OF(number)
  // The one that the build found, then wherever the system looks: LD_LIBRARY_PATH and its own folders.
  static constexpr const char* kFiles[] = {WEFT_CUBLASLT_FILE, "libcublasLt.so." WEFT_TEXT(CUBLAS_VER_MAJOR)};
#undef WEFT_TEXT
#undef WEFT_TEXT_OF
  static const Library opened = open_library(kFiles);
  return opened;
}

#endif

}  // namespace weft::cuda::blas
