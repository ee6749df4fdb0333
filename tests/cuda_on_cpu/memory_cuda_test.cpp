// cuda::Memory with segments: how often it asks the system, what it gives back and what stays.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "core/device/size_class.h"
#include "cuda/runtime/memory.h"
#include "cuda/runtime/runtime.h"
#include "twin.h"
#include "weft/error.h"

namespace weft {
namespace {

constexpr std::size_t kSegment = std::size_t{1} << 20;

struct Block {
  void* address;
  std::size_t bytes;
};

class Segments : public ::testing::Test {
 protected:
  void SetUp() override { free_before_ = cuda::runtime::memory_info().free; }
  void TearDown() override {
    cuda_on_cpu::set_memory_limit(std::size_t{4} << 30);
    cuda::runtime::destroy_stream(stream_);
  }
  std::size_t taken() const { return free_before_ - cuda::runtime::memory_info().free; }

  cuda::runtime::Stream stream_ = cuda::runtime::create_stream();
  std::size_t free_before_ = 0;
};

TEST_F(Segments, HoldManyBlocksThatDoNotOverlap) {
  cuda::Memory memory(stream_, kSegment);
  std::mt19937 random(3);
  std::vector<Block> blocks;
  std::size_t bytes = 0;
  for (int i = 0; i < 300; ++i) {
    const std::size_t size = 1 + random() % (kSegment / 16);
    blocks.push_back({memory.allocate(size), size});
    bytes += size;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(blocks.back().address) % 256, 0u);
    EXPECT_TRUE(cuda_on_cpu::on_device(blocks.back().address, size));
    std::memset(blocks.back().address, i % 251, size);
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto* data = static_cast<const unsigned char*>(blocks[i].address);
    for (const std::size_t at : {std::size_t{0}, blocks[i].bytes / 2, blocks[i].bytes - 1})
      ASSERT_EQ(data[at], i % 251) << "block " << i;
  }
  const MemoryStatistics found = memory.statistics();
  EXPECT_LE(found.system_allocations, 2 * bytes / kSegment);
  EXPECT_EQ(found.reserved, found.live + found.cached);
  EXPECT_EQ(found.reserved, taken());
  for (const Block& block : blocks) memory.deallocate(block.address, block.bytes);
  const Block again{memory.allocate(100), 100};
  EXPECT_EQ(memory.statistics().system_allocations, found.system_allocations);
  memory.deallocate(again.address, again.bytes);
  memory.release_cached();
  EXPECT_EQ(memory.statistics().reserved, 0u);
  EXPECT_EQ(memory.statistics().cached, 0u);
  EXPECT_EQ(taken(), 0u);
}

TEST_F(Segments, StayWhileABlockIsHeld) {
  cuda::Memory memory(stream_, kSegment);
  void* const held = memory.allocate(1000);
  void* const other = memory.allocate(1000);
  void* const large = memory.allocate(kSegment / 2);  // on its own
  std::memset(held, 7, 1000);
  EXPECT_EQ(memory.statistics().system_allocations, 2u);
  memory.deallocate(other, 1000);
  memory.deallocate(large, kSegment / 2);
  memory.release_cached();
  EXPECT_EQ(taken(), kSegment);
  EXPECT_EQ(memory.statistics().reserved, kSegment);
  EXPECT_EQ(static_cast<unsigned char*>(held)[999], 7);
  EXPECT_EQ(memory.allocate(1000), other) << "a block that a held segment keeps is used again";
  memory.deallocate(other, 1000);
  memory.deallocate(held, 1000);
  memory.release_cached();
  EXPECT_EQ(taken(), 0u);
  EXPECT_NE(memory.allocate(1000), nullptr);
}

TEST_F(Segments, GiveWayToSmallBlocksWhereMemoryIsShort) {
  cuda::Memory memory(stream_, kSegment);
  const std::size_t used = cuda::runtime::memory_info().total - free_before_;
  cuda_on_cpu::set_memory_limit(used + kSegment / 2);
  void* const small = memory.allocate(5000);
  EXPECT_EQ(memory.statistics().reserved, class_bytes(class_index(5000)));
  EXPECT_THROW(memory.allocate(kSegment), OutOfMemoryError);
  memory.deallocate(small, 5000);
  cuda_on_cpu::set_memory_limit(used + kSegment);
  std::vector<Block> cached;
  for (int i = 0; i < 4; ++i) cached.push_back({memory.allocate(5000), 5000});
  for (const Block& block : cached) memory.deallocate(block.address, block.bytes);
  EXPECT_NE(memory.allocate(kSegment), nullptr) << "cached blocks make room";
}

TEST_F(Segments, BlocksOfAGraphAreItsOwn) {
  cuda::Memory memory(stream_, kSegment);
  const auto graph = memory.begin_graph();
  void* const first = memory.allocate(3000);
  memory.deallocate(first, 3000);
  EXPECT_EQ(memory.allocate(3000), first) << "the graph uses its own block again";
  memory.deallocate(first, 3000);
  memory.end_graph();
  void* const outside = memory.allocate(3000);
  EXPECT_NE(outside, first);
  memory.deallocate(outside, 3000);
  memory.release_cached();
  EXPECT_EQ(taken(), kSegment) << "the graph's block holds the segment";
  memory.free_graph(graph);
  EXPECT_EQ(memory.statistics().live, 0u);
  memory.release_cached();
  EXPECT_EQ(taken(), 0u);
}

TEST_F(Segments, GoBackWithTheMemory) {
  {
    cuda::Memory memory(stream_, kSegment);
    memory.deallocate(memory.allocate(3000), 3000);
    memory.begin_graph();
    memory.deallocate(memory.allocate(200), 200);
    memory.end_graph();
    EXPECT_EQ(taken(), kSegment);
  }
  EXPECT_EQ(taken(), 0u);
}

}  // namespace
}  // namespace weft
