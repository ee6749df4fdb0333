#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

#include "weft/device.h"

/// Leaves a test body that needs a GPU: skipped without one, failed where WEFT_REQUIRE_CUDA=1 says that there is one.
#define WEFT_NEEDS_CUDA()                                                         \
  do {                                                                            \
    if (!weft::cuda_is_available()) {                                             \
      const char* required = std::getenv("WEFT_REQUIRE_CUDA");                    \
      if (required != nullptr && std::string_view(required) == "1") {             \
        FAIL() << "WEFT_REQUIRE_CUDA=1, but " << weft::cuda_unavailable_reason(); \
      }                                                                           \
      GTEST_SKIP() << weft::cuda_unavailable_reason();                            \
    }                                                                             \
  } while (false)

namespace weft {

/// Where tests that are built once for each device run.
#ifdef WEFT_TEST_CUDA
inline constexpr Device kTestDevice = Device::cuda();

/// Leaves every test of such a program out that is built for a GPU.
class NeedsTestDevice : public testing::Environment {
 public:
  void SetUp() override { WEFT_NEEDS_CUDA(); }
};
inline testing::Environment* const kNeedsTestDevice = testing::AddGlobalTestEnvironment(new NeedsTestDevice);
#else
inline constexpr Device kTestDevice = Device::cpu();
#endif

}  // namespace weft
