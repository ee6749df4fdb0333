#include "cpu/runtime/threads.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/device/sanitizers.h"
#include "cpu/runtime/cgroup.h"
#include "weft/error.h"
#include "weft/nn/data.h"
#include "weft/ops.h"
#include "weft/random.h"

namespace {

/// How many threads the system will start yet.
std::atomic<int> threads_left{std::numeric_limits<int>::max()};

}  // namespace

/// Stands before the C library's in this program.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                              void* argument) noexcept {
  if (threads_left.fetch_sub(1) <= 0) {
    threads_left.store(0);
    return EAGAIN;
  }
  static const auto real = reinterpret_cast<decltype(&pthread_create)>(dlsym(RTLD_NEXT, "pthread_create"));
  return real(thread, attributes, start, argument);
}

namespace weft::cpu {
namespace {

class Threads : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_thread_count(GetParam()); }
  void TearDown() override { set_thread_count(allowed_cpus()); }
};

TEST_P(Threads, EveryTaskRunsOnce) {
  for (std::int64_t tasks : {0, 1, 2, 3, 7, 64, 1000}) {
    std::vector<std::atomic<int>> runs(tasks);
    for (int round = 0; round < 20; ++round) parallel_for(tasks, [&](std::int64_t i) { ++runs[i]; });
    for (std::int64_t i = 0; i < tasks; ++i) ASSERT_EQ(runs[i], 20) << "task " << i << " of " << tasks;
  }
}

TEST_P(Threads, PlainWritesAreSeenByTheCaller) {
  std::vector<std::int64_t> values(257);
  for (int round = 0; round < 200; ++round) {
    parallel_for(257, [&](std::int64_t i) { values[i] += i; });
    ASSERT_EQ(values[256], 256 * (round + 1));
  }
  EXPECT_EQ(std::accumulate(values.begin(), values.end(), std::int64_t{0}), 200 * 256 * 257 / 2);
}

TEST_P(Threads, NegativeCountsRunNothing) {
  parallel_for(-3, [](std::int64_t) { FAIL(); });
  parallel_blocks(-3, 4, [](std::int64_t, std::int64_t) { FAIL(); });
  parallel_blocks(0, 4, [](std::int64_t, std::int64_t) { FAIL(); });
}

TEST_P(Threads, BlocksDependOnGrainAlone) {
  for (std::int64_t n : {1, 5, 16, 17, 100}) {
    std::vector<std::atomic<std::int64_t>> end_of(n);
    parallel_blocks(n, 16, [&](std::int64_t begin, std::int64_t end) { end_of[begin] = end; });
    for (std::int64_t i = 0; i < n; ++i) EXPECT_EQ(end_of[i], i % 16 == 0 ? std::min(i + 16, n) : 0);
  }
  std::int64_t only_end = 0;
  parallel_blocks(5, INT64_MAX, [&](std::int64_t, std::int64_t end) { only_end = end; });
  EXPECT_EQ(only_end, 5);
}

TEST_P(Threads, FirstExceptionReachesTheCallerAfterRunningTasksEnd) {
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> running{0}, begun{0};
    try {
      parallel_for(500, [&](std::int64_t i) {
        ++running;
        ++begun;
        if (i == 20) {
          --running;
          throw std::out_of_range("task 20");
        }
        std::this_thread::yield();
        --running;
      });
      FAIL() << "nothing was thrown";
    } catch (const std::out_of_range& error) {
      EXPECT_STREQ(error.what(), "task 20");
    }
    EXPECT_EQ(running, 0);
    EXPECT_GE(begun, 21);
  }
  std::atomic<int> after{0};
  parallel_for(10, [&](std::int64_t) { ++after; });
  EXPECT_EQ(after, 10);
}

TEST_P(Threads, NoTaskBeginsAfterAnException) {
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> begun{0};
    const auto body = [&](std::int64_t) {
      ++begun;
      throw std::runtime_error("every task");
    };
    EXPECT_THROW(parallel_for(100, body), std::runtime_error);
    EXPECT_LE(begun, GetParam());
  }
}

TEST_P(Threads, NestedRegionsRunInTheirOwnThread) {
  std::vector<std::atomic<int>> runs(8 * 16);
  parallel_for(8, [&](std::int64_t i) {
    const auto self = std::this_thread::get_id();
    parallel_for(16, [&](std::int64_t j) {
      EXPECT_EQ(std::this_thread::get_id(), self);
      ++runs[i * 16 + j];
    });
    EXPECT_THROW(parallel_for(2, [](std::int64_t) { throw std::runtime_error("inner"); }), std::runtime_error);
  });
  for (auto& count : runs) EXPECT_EQ(count, 1);
}

TEST_P(Threads, TwoThreadsMayCallAtOnce) {
  std::vector<std::int64_t> sums(3);
  const auto caller = [&](int id) {
    for (int round = 0; round < 200; ++round) {
      std::atomic<std::int64_t> sum{0};
      parallel_for(50, [&](std::int64_t i) { sum += i; });
      sums[id] += sum;
    }
  };
  std::thread first(caller, 0), second(caller, 1);
  caller(2);
  first.join();
  second.join();
  for (std::int64_t sum : sums) EXPECT_EQ(sum, 200 * 1225);
}

TEST_P(Threads, ScratchIsAlignedPrivateAndKept) {
  std::set<void*> shared;
  parallel_for(64, [&](std::int64_t i) {
    auto* mine = static_cast<std::int64_t*>(scratch(ScratchSlot::shared, 1000 * sizeof(std::int64_t)));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(mine) % 64, 0u);
    for (int j = 0; j < 1000; ++j) mine[j] = i;
    std::this_thread::yield();
    for (int j = 0; j < 1000; ++j) EXPECT_EQ(mine[j], i);
    EXPECT_EQ(scratch(ScratchSlot::shared, 10), mine);
    EXPECT_NE(scratch(ScratchSlot::sums, 10), static_cast<void*>(mine));
  });
  void* small = scratch(ScratchSlot::task, 100);
  EXPECT_EQ(scratch(ScratchSlot::task, 50), small);
  auto* large = static_cast<char*>(scratch(ScratchSlot::task, 1 << 20));
  large[(1 << 20) - 1] = 1;
}

INSTANTIATE_TEST_SUITE_P(Counts, Threads, testing::Values(1, 2, 3, 8), testing::PrintToStringParamName());

TEST(ThreadCount, MayChangeAtAnyTime) {
  for (int round = 0; round < 60; ++round) {
    const int threads = 1 + round * 7 % 9;
    set_thread_count(threads);
    EXPECT_EQ(thread_count(), threads);
    std::atomic<int> runs{0};
    for (int i = 0; i < round % 4; ++i) parallel_for(20, [&](std::int64_t) { ++runs; });
    EXPECT_EQ(runs, round % 4 * 20);
  }
  set_thread_count(0);
  EXPECT_EQ(thread_count(), 1);
  set_thread_count(allowed_cpus());
}

TEST(ThreadCount, MayChangeWhileAnotherThreadRunsRegions) {
  std::atomic<bool> stop{false};
  std::thread changer([&] {
    for (int i = 0; !stop; ++i) set_thread_count(1 + i % 4);
  });
  for (int round = 0; round < 500; ++round) {
    std::atomic<int> runs{0};
    parallel_for(10, [&](std::int64_t) { ++runs; });
    ASSERT_EQ(runs, 10);
  }
  stop = true;
  changer.join();
  set_thread_count(allowed_cpus());
}

TEST(ThreadCount, CannotChangeInsideABody) {
  EXPECT_THROW(parallel_for(2, [](std::int64_t) { set_thread_count(3); }), Error);
}

TEST(ThreadCount, WorkersTakePart) {
  set_thread_count(2);
  std::atomic<int> arrived{0};
  parallel_for(2, [&](std::int64_t) {  // ends only when two threads are inside at once
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
  });
  EXPECT_EQ(arrived, 2);
  set_thread_count(allowed_cpus());
}

#if !WEFT_TSAN  // which lets no child start threads
/// What a child process that runs `body` exits with; 142 where it hangs.
int exit_code_of_child(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    body();
    _exit(0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#if !WEFT_ASAN  // whose allocator a child may inherit locked
TEST(Fork, AChildHasWorkersOfItsOwn) {
  set_thread_count(2);
  const Tensor shared = ones({100000}, {.requires_grad = true});
  std::atomic<bool> ends{false};
  std::thread other([&] {  // holds the parent's locks most of the time
    while (!ends) {
      parallel_for(64, [](std::int64_t) { scratch(ScratchSlot::task, 1 << 20); });
      const std::vector<float> kept = randn({1000}).to_vector<float>();
      sum(shared * 2).backward();
    }
  });
  for (int round = 0; round < 10; ++round) {
    EXPECT_EQ(exit_code_of_child([&] {
                std::atomic<int> arrived{0};
                parallel_for(2, [&](std::int64_t) {
                  ++arrived;
                  while (arrived < 2) std::this_thread::yield();
                });
                if (randn({1000}).size() != 1000) _exit(1);
                sum(shared * 2).backward();
                set_thread_count(3);
              }),
              0);
  }
  ends = true;
  other.join();
  set_thread_count(allowed_cpus());
}

#endif

void (*at_exit)() = nullptr;
struct AtExit {
  ~AtExit() {
    if (at_exit != nullptr) at_exit();
  }
} const at_exit_object;  // made before the workers, so destroyed behind them

TEST(Fork, DestructorsAtAChildsExitMayCompute) {
  EXPECT_EQ(exit_code_of_child([] {
              at_exit = [] {
                if (!process_ends()) _exit(1);
                parallel_for(
                    8, [](std::int64_t i) { *static_cast<std::int64_t*>(scratch(ScratchSlot::shared, 1 << 16)) = i; });
                const Tensor a = ones({64, 64});
                _exit(matmul(a, a).to_vector<float>()[0] == 64 ? 7 : 2);
              };
              static_cast<char*>(scratch(ScratchSlot::shared, 1 << 10))[0] = 1;
              parallel_for(8, [](std::int64_t) {});
              const Tensor a = ones({64, 64});
              matmul(a, a);
              std::exit(3);
            }),
            7);
}
#endif

TEST(ThreadCount, SleepingWorkersWake) {
  set_thread_count(3);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::atomic<int> arrived{0};
    parallel_for(3, [&](std::int64_t) {
      ++arrived;
      while (arrived < 3) std::this_thread::yield();
    });
  }
  set_thread_count(allowed_cpus());
}

class NoThreads : public testing::Test {
 protected:
  ~NoThreads() override {
    threads_left.store(std::numeric_limits<int>::max());
    set_thread_count(allowed_cpus());
  }
};

TEST_F(NoThreads, ARegionRunsOnThoseThatStart) {
  for (const int started : {0, 1, 2}) {
    set_thread_count(4);
    threads_left.store(started);
    std::mutex mutex;
    std::set<std::thread::id> seen;
    for (int round = 0; round < 20; ++round) {
      std::vector<int> runs(50);
      parallel_for(50, [&](std::int64_t i) {
        ++runs[static_cast<std::size_t>(i)];
        const std::lock_guard lock(mutex);
        seen.insert(std::this_thread::get_id());
      });
      EXPECT_EQ(runs, std::vector<int>(50, 1));
    }
    EXPECT_LE(seen.size(), static_cast<std::size_t>(started + 1));
    EXPECT_EQ(threads_left.load(), 0);
  }
}

TEST_F(NoThreads, ALoaderMakesItsBatchesWithoutOne) {
  const nn::ImageDataset data = nn::builtin_images(nn::Split::train, 23);
  const auto batches = [&] {
    std::vector<std::vector<float>> all;
    nn::DataLoader loader(data, {.batch_size = 5, .shuffle = true, .augmentation = {.flip = true}, .seed = 3});
    for (int epoch = 0; epoch < 2; ++epoch) {
      for (const auto& [images, labels] : loader) {
        all.push_back(images.to_vector<float>());
        all.push_back(labels.to(DType::f32).to_vector<float>());
      }
    }
    return all;
  };
  const std::vector<std::vector<float>> expected = batches();
  EXPECT_EQ(expected.size(), 20u);
  set_thread_count(4);
  threads_left.store(0);
  EXPECT_EQ(batches(), expected);
}

class Cgroup : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  std::string root_ = testing::TempDir() + "weft_cgroup_" + std::to_string(::getpid());
};

TEST_F(Cgroup, NoFilesMeanNoQuota) { EXPECT_EQ(cgroup_cpus(root_), 0); }

TEST_F(Cgroup, Version2TakesTheSmallestOnTheWayUpRoundedUp) {
  write("/proc/self/cgroup", "0::/a/b\n");
  write("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(cgroup_cpus(root_), 0);
  write("/sys/fs/cgroup/a/cpu.max", "250000 100000\n");
  EXPECT_EQ(cgroup_cpus(root_), 3);
  write("/sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
  EXPECT_EQ(cgroup_cpus(root_), 1);
}

TEST_F(Cgroup, Version2InsideAContainerReadsTheRoot) {
  write("/proc/self/cgroup", "0::/not/mounted/here\n");
  write("/sys/fs/cgroup/cpu.max", "400000 100000\n");
  EXPECT_EQ(cgroup_cpus(root_), 4);
}

TEST_F(Cgroup, Version1) {
  write("/proc/self/cgroup", "12:memory:/x\n4:cpu,cpuacct:/x\n3:cpuset:/x\n");
  write("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "-1\n");
  write("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cgroup_cpus(root_), 0);
  write("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "150000\n");
  EXPECT_EQ(cgroup_cpus(root_), 2);
}

}  // namespace
}  // namespace weft::cpu
