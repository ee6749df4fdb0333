# WEFT_CUDA=AUTO|ON|OFF: finds nvcc, cuBLASLt and the runtime, enables the language CUDA and sets weft_cuda (ON or OFF),
# weft_cuda_libraries, and weft_cuda_pc_libs for weft.pc. nvcc is looked for in CMAKE_CUDA_COMPILER, CUDACXX, the PATH,
# CUDA_PATH, CUDA_HOME and /usr/local/cuda.
set(weft_cuda OFF)
set(weft_cuda_libraries "")
set(weft_cuda_pc_libs "")
if(NOT WEFT_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "weft: WEFT_CUDA is AUTO, ON or OFF, not ${WEFT_CUDA}")
endif()

set(weft_cuda_missing "")
if(WEFT_CUDA STREQUAL "AUTO" AND WEFT_SANITIZE)
  set(weft_cuda_missing "not with sanitizers unless WEFT_CUDA=ON")
elseif(NOT WEFT_CUDA STREQUAL "OFF")
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    find_program(WEFT_NVCC nvcc HINTS ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
    if(WEFT_NVCC)
      set(ENV{CUDACXX} ${WEFT_NVCC})
    else()
      set(weft_cuda_missing "nvcc was not found on the PATH or in /usr/local/cuda (CUDACXX, CUDA_PATH or CUDA_HOME names another)")
    endif()
  endif()
  if(NOT weft_cuda_missing)
    # nvcc compiles the host half of a file with the compiler of everything else.
    if(NOT CMAKE_CUDA_HOST_COMPILER AND NOT DEFINED ENV{CUDAHOSTCXX})
      set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER} CACHE FILEPATH "nvcc's host compiler")
    endif()
    # Machine code for the A100 and its like (sm_80) and the H100 and its like (sm_90a), and sm_80's PTX, from which the
    # driver makes machine code for chips that are newer. `native`: the GPUs of this machine.
    if(NOT CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
      set(CMAKE_CUDA_ARCHITECTURES "80;90a-real" CACHE STRING "GPU architectures, as CMake writes them; or native" FORCE)
    endif()
    if(WEFT_CUDA STREQUAL "AUTO" AND NOT CMAKE_CUDA_COMPILER)
      include(CheckLanguage)
      check_language(CUDA)
      if(NOT CMAKE_CUDA_COMPILER)
        unset(CMAKE_CUDA_COMPILER CACHE)  # so that the next configuration looks again
        set(weft_cuda_missing "$ENV{CUDACXX} with ${CMAKE_CUDA_HOST_COMPILER} does not compile")
      endif()
    endif()
  endif()
  if(NOT weft_cuda_missing)
    enable_language(CUDA)
    find_package(CUDAToolkit QUIET)
    if(NOT CUDAToolkit_FOUND)
      set(weft_cuda_missing "the toolkit of ${CMAKE_CUDA_COMPILER} is not complete")
    elseif(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12)
      set(weft_cuda_missing "CUDA ${CMAKE_CUDA_COMPILER_VERSION} is too old, 12.0 is needed")
    elseif(NOT TARGET CUDA::cudart_static)
      set(weft_cuda_missing "libcudart_static was not found beside ${CMAKE_CUDA_COMPILER}")
    elseif(NOT TARGET CUDA::cublasLt AND NOT TARGET CUDA::cublasLt_static)
      set(weft_cuda_missing "libcublasLt was not found beside ${CMAKE_CUDA_COMPILER}")
    else()
      set(weft_cuda ON)
    endif()
  endif()
endif()

if(weft_cuda)
  if(CMAKE_CUDA_ARCHITECTURES STREQUAL "native")
    if(NOT CMAKE_CUDA_ARCHITECTURES_NATIVE)
      message(FATAL_ERROR "weft: CMAKE_CUDA_ARCHITECTURES=native, but no GPU was found")
    endif()
    # A build for one machine has the chip's own instructions too (sm_90a).
    list(TRANSFORM CMAKE_CUDA_ARCHITECTURES_NATIVE REPLACE "^(90|1[0-9][0-9])-real$" "\\1a-real"
      OUTPUT_VARIABLE CMAKE_CUDA_ARCHITECTURES)
  endif()
  if(TARGET CUDA::cublasLt)
    set(weft_cuda_libraries CUDA::cublasLt CUDA::cudart_static)
    get_filename_component(weft_cuda_folder ${CUDA_cublasLt_LIBRARY} DIRECTORY)
    set(weft_cuda_pc_libs
      "${CUDA_cublasLt_LIBRARY} -Wl,-rpath,${weft_cuda_folder} ${CUDA_cudart_static_LIBRARY} -lrt -ldl")
  else()
    set(weft_cuda_libraries CUDA::cublasLt_static CUDA::cudart_static)
    set(weft_cuda_pc_libs
      "${CUDA_cublasLt_static_LIBRARY} ${CUDA_culibos_LIBRARY} ${CUDA_cudart_static_LIBRARY} -lrt -ldl")
  endif()
  message(STATUS "weft: CUDA ${CMAKE_CUDA_COMPILER_VERSION} (${CMAKE_CUDA_COMPILER}) for ${CMAKE_CUDA_ARCHITECTURES}")

  # Kernels round as the same code on the CPU does: products and sums are fused where a kernel says so (fmaf) only.
  # relaxed constexpr: std::bit_cast, std::min and the like in kernels. The standard is no CUDA_STANDARD, since CMake
  # 3.25.1 does not know that nvcc has C++20. 186: a template's x < 0 is "pointless" for its unsigned types.
  set(weft_cuda_flags -std=c++20 --expt-relaxed-constexpr --fmad=false -Xcompiler=-ffp-contract=off -lineinfo
    -Xptxas=--warn-on-spills --diag-suppress=186)
  if(PROJECT_IS_TOP_LEVEL)
    list(APPEND weft_cuda_flags -Xcompiler=-Wall,-Wextra,-Wshadow,-Wnon-virtual-dtor)
    if(CMAKE_CUDA_HOST_COMPILER MATCHES "(g\\+\\+|c\\+\\+)[^/]*$" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      list(APPEND weft_cuda_flags -Xcompiler=-Wno-restrict)
    endif()
    if(WEFT_WERROR)  # a register spill too
      list(APPEND weft_cuda_flags -Werror=all-warnings -Xcompiler=-Werror -Xptxas=--warning-as-error)
    endif()
  endif()
  target_compile_options(weft_flags INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:${weft_cuda_flags}>")
elseif(WEFT_CUDA STREQUAL "ON")
  message(FATAL_ERROR "weft: WEFT_CUDA=ON, but ${weft_cuda_missing}")
elseif(WEFT_CUDA STREQUAL "AUTO")
  message(STATUS "weft: no CUDA backend: ${weft_cuda_missing}")
endif()
