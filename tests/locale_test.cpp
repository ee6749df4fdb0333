// In a locale with a decimal comma and grouped digits, everything that weft writes and reads is as in any other.
#include <gtest/gtest.h>

#include <clocale>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <locale>
#include <sstream>
#if __has_include(<sanitizer/lsan_interface.h>)
#include <sanitizer/lsan_interface.h>
#endif

#include "core/device/sanitizers.h"
#include "cpu/runtime/cgroup.h"
#include "tests/error_support.h"
#include "tests/io_support.h"
#include "weft/weft.h"

namespace weft {
namespace {

/// CMake makes the locale where the system has its source; LOCPATH names the folder.
class Locale : public testing::Test {
 protected:
  void SetUp() override {
    if (!set_locales()) GTEST_SKIP() << "no locale de_DE.UTF-8";
    char text[8];
    std::snprintf(text, sizeof text, "%.1f", 0.5);
    ASSERT_STREQ(text, "0,5");
    std::ostringstream stream;
    stream << 12345;
    ASSERT_EQ(stream.str(), "12.345");
  }
  static bool set_locales() {
#if WEFT_ASAN
    const __lsan::ScopedDisabler c_library_leaks;  // where it looks for locales
#endif
    if (std::setlocale(LC_ALL, "de_DE.UTF-8") == nullptr) return false;
    std::locale::global(std::locale("de_DE.UTF-8"));
    return true;
  }
  void TearDown() override {
    std::setlocale(LC_ALL, "C");
    std::locale::global(std::locale::classic());
  }
};

std::string streamed(const Tensor& tensor) {
  std::ostringstream stream;
  stream << tensor;
  return stream.str();
}

TEST_F(Locale, Printing) {
  EXPECT_EQ(streamed(Tensor::from<float>({3.3e-10F, 1}, {2})), "[3.3e-10 1.0e+00]");
  EXPECT_EQ(streamed(Tensor::from<double>({1. / 3, 1234.5}, {2})), "[3.33333333e-01 1.23450000e+03]");
  EXPECT_EQ(streamed(Tensor::from<double>({1. / 3, 12.5}, {2})), "[ 0.33333333 12.5       ]");
  EXPECT_EQ(streamed(Tensor::from<float>({0.1F, 2.5F}, {2}).to(DType::f16)), "[0.1 2.5]");
  EXPECT_EQ(streamed(Tensor::from<float>({0.1F, 2.5F}, {2}).to(DType::bf16)), "[0.1 2.5]");
  EXPECT_EQ(streamed(Tensor::from<std::int64_t>({1234567}, {1})), "[1234567]");
}

TEST_F(Locale, Errors) {
  const Tensor x = Tensor::from<float>({1, 2}, {2});
  expect_error<ValueError>("clamp: low 2.5 exceeds high 1.25", [&] { clamp(x, 2.5, 1.25); });
  expect_error<ValueError>("dropout: p must be in [0, 1], not 1.5", [&] { dropout(x, 1.5); });
  expect_error<ValueError>("randn: stddev must not be -0.5", [] { randn({2}, {}, 0, -0.5); });
  expect_error<ValueError>("arange: the range from 0.5 to inf has no length", [] { arange(0.5, INFINITY, 0.5); });
}

TEST_F(Locale, Files) {
  const test::TemporaryFolder folder;
  const Array x = Tensor::from<float>({0.1F, 1e-30F, 12345.5F}, {3}).array();
  save_npy(folder / "x.npy", x);
  save_safetensors(folder / "x.safetensors", {{{"x", x}}, {{"rate", "0.5"}}});
  const TensorFile read = load_safetensors(folder / "x.safetensors");
  EXPECT_EQ(read.metadata.at("rate"), "0.5");
  for (const Array& back : {load_npy(folder / "x.npy"), read.arrays.at("x")}) {
    ASSERT_EQ(back.shape(), x.shape());
    EXPECT_EQ(back.to_vector<float>(), x.to_vector<float>());
  }
}

TEST_F(Locale, ControlGroups) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directories(folder / "proc/self");
  std::filesystem::create_directories(folder / "sys/fs/cgroup/job");
  test::write_file(folder / "proc/self/cgroup", "0::/job\n");
  test::write_file(folder / "sys/fs/cgroup/job/cpu.max", "250000 100000\n");
  EXPECT_EQ(cpu::cgroup_cpus((folder / "").string()), 3);
}

}  // namespace
}  // namespace weft
