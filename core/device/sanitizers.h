#pragma once

// WEFT_ASAN and WEFT_TSAN: 1 where the file is compiled with -fsanitize=address or thread, else 0. GCC defines macros
// for them, Clang answers __has_feature.

#if defined(__SANITIZE_ADDRESS__)
#define WEFT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEFT_ASAN 1
#endif
#endif
#if !defined(WEFT_ASAN)
#define WEFT_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define WEFT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WEFT_TSAN 1
#endif
#endif
#if !defined(WEFT_TSAN)
#define WEFT_TSAN 0
#endif
