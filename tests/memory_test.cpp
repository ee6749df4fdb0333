#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "core/device/sanitizers.h"
#include "weft/weft.h"

namespace weft {
namespace {

constexpr bool kCaching = WEFT_ASAN == 0;  // else every block goes back to the system, so that overruns are seen

TEST(Memory, CountsWhatIsLive) {
  const MemoryStatistics before = memory_statistics(Device::cpu());
  {
    const Array a = Array::empty({1000});
    const MemoryStatistics during = memory_statistics(Device::cpu());
    EXPECT_GE(during.live, before.live + 4000);
    EXPECT_LE(during.live, before.live + 5000);
    EXPECT_GE(during.peak, during.live);
    EXPECT_EQ(during.reserved, during.live + during.cached);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.data()) % 64, 0u);
  }
  EXPECT_EQ(memory_statistics(Device::cpu()).live, before.live);
}

TEST(Memory, ReusesBlocksAndGivesThemBack) {
  if (!kCaching) GTEST_SKIP() << "no cache under AddressSanitizer";
  release_cached_memory(Device::cpu());
  EXPECT_EQ(memory_statistics(Device::cpu()).cached, 0u);
  const void* address = Array::empty({123, 457}).data();
  const MemoryStatistics before = memory_statistics(Device::cpu());
  EXPECT_GT(before.cached, 0u);
  EXPECT_EQ(Array::empty({123, 457}).data(), address);
  EXPECT_EQ(memory_statistics(Device::cpu()).system_allocations, before.system_allocations);
  release_cached_memory(Device::cpu());
  EXPECT_EQ(memory_statistics(Device::cpu()).cached, 0u);
}

TEST(Memory, KeepsWhatALoopUses) {
  if (!kCaching) GTEST_SKIP() << "no cache under AddressSanitizer";
  release_cached_memory(Device::cpu());
  std::uint64_t asked = 0;
  for (int round = 0; round < 4; ++round) {
    if (round == 1) asked = memory_statistics(Device::cpu()).system_allocations;
    for (const std::int64_t size : {20 << 20, 26 << 20, 32 << 20}) Array::empty({size});
  }
  EXPECT_EQ(memory_statistics(Device::cpu()).system_allocations, asked);
}

std::size_t bound() { return std::max<std::size_t>(64 << 20, memory_statistics(Device::cpu()).peak / 4 * 5); }

TEST(Memory, KeepsNoMoreThanThePeakAndAQuarter) {
  if (!kCaching) GTEST_SKIP() << "no cache under AddressSanitizer";
  release_cached_memory(Device::cpu());
  for (std::int64_t i = 1; i <= 30; ++i) {  // in an order in which few fit where the last one was
    const Array array = Array::empty({(1 + i * 7 % 30) << 20});
    EXPECT_LE(memory_statistics(Device::cpu()).reserved, bound());
  }
  EXPECT_LE(memory_statistics(Device::cpu()).reserved, bound());
}

TEST(Memory, PiecesBetweenLiveBlocksAreGivenBack) {
  if (!kCaching) GTEST_SKIP() << "no cache under AddressSanitizer";
  release_cached_memory(Device::cpu());
  std::vector<Array> arrays;
  for (int i = 0; i < 40; ++i) arrays.push_back(Array::empty({2 << 20}));  // 8 MiB each
  for (std::size_t i = 0; i < 40; i += 2) arrays[i] = Array();
  for (int i = 0; i < 8; ++i) arrays.push_back(Array::empty({4 << 20}));  // none fits a gap
  EXPECT_LE(memory_statistics(Device::cpu()).reserved, bound());
  arrays.clear();
  release_cached_memory(Device::cpu());
  EXPECT_EQ(memory_statistics(Device::cpu()).cached, 0u);
}

TEST(Memory, BlocksOfAnyOrderAreWholeAndGoBackWhole) {
  if (!kCaching) GTEST_SKIP() << "no cache under AddressSanitizer";
  release_cached_memory(Device::cpu());
  const MemoryStatistics start = memory_statistics(Device::cpu());
  {
    std::vector<Array> arrays(64);
    Generator generator(5);
    const auto random = [&] { return randint(0, 1 << 30, {}, {.dtype = DType::i64}, generator).item<std::int64_t>(); };
    for (std::int64_t i = 0; i < 4000; ++i) {
      Array& array = arrays[static_cast<std::size_t>(random() % 64)];
      if (array.defined()) {  // both ends are what they were
        const auto* bytes = array.data_as<const std::uint8_t>();
        ASSERT_EQ(bytes[0], bytes[array.size() - 1]);
      }
      array = Array();
      if (i % 3 == 0) continue;
      array = Array::empty({1 + random() % (std::int64_t{1} << random() % 24)}, DType::u8);
      auto* bytes = static_cast<std::uint8_t*>(array.data());
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(bytes) % 64, 0u);
      bytes[0] = bytes[array.size() - 1] = static_cast<std::uint8_t>(i);
      if (i % 1000 == 999) release_cached_memory(Device::cpu());
    }
  }
  EXPECT_EQ(memory_statistics(Device::cpu()).live, start.live);
  release_cached_memory(Device::cpu());
  EXPECT_EQ(memory_statistics(Device::cpu()).cached, start.cached);
}

#ifdef __GLIBC__
std::int64_t resident() {
  std::int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages >> pages;
  return pages * sysconf(_SC_PAGESIZE);
}

TEST(Memory, AGraphLeavesNothingResident) {
  if (!kCaching || WEFT_TSAN) GTEST_SKIP() << "sanitizers keep memory";
  release_cached_memory(Device::cpu());
  const std::int64_t before = resident();
  {
    const Tensor x = full({}, 1.0, {.requires_grad = true});
    Tensor y = x;
    for (int i = 0; i < 100000; ++i) y = y * x;
    EXPECT_GT(resident() - before, 16 << 20);
  }
  release_cached_memory(Device::cpu());
  EXPECT_LT(resident() - before, 8 << 20);
}
#endif

TEST(Memory, EverySizeIsWholeAndItsOwn) {
  std::vector<Array> arrays;
  for (std::int64_t size = 0; size < 700; ++size) {
    arrays.push_back(Array::empty({size}, DType::u8));
    if (size > 0) std::memset(arrays.back().data(), static_cast<int>(size % 251), static_cast<std::size_t>(size));
  }
  for (std::int64_t size = 1; size < 700; ++size) {
    const auto* bytes = arrays[static_cast<std::size_t>(size)].data_as<const std::uint8_t>();
    for (std::int64_t i = 0; i < size; ++i) ASSERT_EQ(bytes[i], size % 251) << size;
  }
}

TEST(Memory, TooMuchIsAnErrorThatTells) {
  try {
    Array::empty({std::int64_t{1} << 60}, DType::u8);
    FAIL();
  } catch (const OutOfMemoryError& error) {
    EXPECT_NE(std::string(error.what()).find("cannot allocate 1152921504606846976 bytes"), std::string::npos)
        << error.what();
  }
  EXPECT_THROW(Array::empty({std::int64_t{1} << 62}, DType::f64), ShapeError);
  EXPECT_EQ(Array::full({3}, 2.0).to_vector<float>(), (std::vector<float>{2, 2, 2}));
}

#if WEFT_ASAN
volatile std::uint8_t seen = 0;

TEST(MemoryDeathTest, AnOverrunByOneByteIsReported) {
  for (const std::int64_t size : {1, 64, 100, 5 << 20}) {
    const Array array = Array::empty({size}, DType::u8);
    auto* bytes = static_cast<std::uint8_t*>(array.data());
    bytes[size - 1] = 1;
    EXPECT_DEATH(bytes[size] = 1, "AddressSanitizer: heap-buffer-overflow") << size;
  }
}

TEST(MemoryDeathTest, AUseAfterTheLastHandleIsGoneIsReported) {
  for (const std::int64_t size : {100, 5 << 20}) {
    Array array = Array::empty({size}, DType::u8);
    auto* bytes = static_cast<std::uint8_t*>(array.data());
    bytes[0] = 1;
    array = Array();
    EXPECT_DEATH(seen = bytes[0], "AddressSanitizer: heap-use-after-free") << size;
  }
}
#endif

TEST(Memory, ATrainingStepAsksTheSystemForNothingAfterTheFirst) {
  if (!kCaching) GTEST_SKIP() << "no cache under AddressSanitizer";
  nn::Sequential model = nn::resnet9({.variant = nn::ResNet9::narrow});
  nn::Adam optimizer(model.parameters());
  const Tensor images = randn({16, 3, 32, 32});
  const Tensor labels = randint(0, 10, {16});
  const auto step = [&] {
    optimizer.zero_grad();
    cross_entropy(model(images), labels).backward();
    optimizer.step();
  };
  step();
  step();  // the first step had no gradients to let go of
  const MemoryStatistics before = memory_statistics(Device::cpu());
  for (int i = 0; i < 3; ++i) step();
  const MemoryStatistics after = memory_statistics(Device::cpu());
  EXPECT_EQ(after.system_allocations, before.system_allocations);
  EXPECT_EQ(after.live, before.live);
}

}  // namespace
}  // namespace weft
