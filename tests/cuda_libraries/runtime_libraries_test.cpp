// cuda/runtime/runtime.cpp itself, on a stand-in of the CUDA runtime: what it reports of each call that fails, and of
// the GPUs.
#include <gtest/gtest.h>

#include <cuda_runtime_api.h>

#include <cstdlib>
#include <functional>
#include <iostream>

#include "cuda/runtime/context.h"
#include "cuda/runtime/profile.h"
#include "cuda/runtime/runtime.h"
#include "faults.h"
#include "twin.h"
#include "weft/error.h"

namespace weft::cuda_libraries {
namespace {

namespace runtime = cuda::runtime;

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "no DeviceError";
}

/// A stream, device and host memory, an event that was recorded, and a graph.
class Runtime : public testing::Test {
 protected:
  static constexpr std::size_t kBytes = 64;

  Runtime() {
    EXPECT_EQ(runtime::device_count(), 2);
    runtime::record(event, stream);
    runtime::begin_capture(stream);
    runtime::set_bytes(device, 7, kBytes, stream);
    graph = runtime::end_capture(stream);
  }
  ~Runtime() override {
    faults().never_fail();
    runtime::destroy_graph(graph);
    runtime::destroy_event(event);
    runtime::deallocate_host(host);
    runtime::deallocate(device, stream);
    runtime::deallocate(other, stream);
    runtime::destroy_stream(stream);
    EXPECT_EQ(live_objects().counts(), before);
  }

  std::map<std::string, int> before = live_objects().counts();
  runtime::Stream stream = runtime::create_stream();
  void* device = runtime::allocate(kBytes, stream);
  void* other = runtime::allocate(kBytes, stream);
  void* host = runtime::allocate_host(kBytes);
  runtime::Event event = runtime::create_event();
  runtime::GraphExec graph = nullptr;
};

TEST_F(Runtime, EachCallThatFailsIsReportedOnceByItsName) {
  struct Call {
    const char *function, *text;
    std::function<void()> run;
  };
  const auto capture = [this] {
    runtime::begin_capture(stream);
    std::size_t nodes = 0;
    runtime::destroy_graph(runtime::end_capture(stream, &nodes));
  };
  const auto facts = [] { runtime::kernel_facts(nullptr, 64); };
  const auto allocate = [this] { runtime::deallocate(runtime::allocate(kBytes, stream), stream); };
  const Call calls[] = {
      {"cudaGetDeviceProperties", "cudaGetDeviceProperties", [] { runtime::properties(0); }},
      {"cudaDriverGetVersion", "cudaDriverGetVersion", [] { runtime::properties(0); }},
      {"cudaRuntimeGetVersion", "cudaRuntimeGetVersion", [] { runtime::properties(0); }},
      {"cudaSetDevice", "cudaSetDevice", [] { runtime::set_device(0); }},
      {"cudaMemGetInfo", "cudaMemGetInfo", [] { runtime::memory_info(); }},
      {"cudaMallocAsync", "cudaMallocAsync", allocate},
      {"cudaHostAlloc", "cudaHostAlloc", [] { runtime::deallocate_host(runtime::allocate_host(kBytes)); }},
      {"cudaMemcpyAsync", "cudaMemcpyAsync to the device",
       [this] { runtime::copy_to_device(device, host, kBytes, stream); }},
      {"cudaMemcpyAsync", "cudaMemcpyAsync to the host",
       [this] { runtime::copy_to_host(host, device, kBytes, stream); }},
      {"cudaMemcpyAsync", "cudaMemcpyAsync on the device",
       [this] { runtime::copy_on_device(other, device, kBytes, stream); }},
      {"cudaMemsetAsync", "cudaMemsetAsync", [this] { runtime::set_bytes(device, 0, kBytes, stream); }},
      {"cudaStreamCreateWithFlags", "cudaStreamCreateWithFlags",
       [] { runtime::destroy_stream(runtime::create_stream()); }},
      {"cudaStreamSynchronize", "cudaStreamSynchronize", [this] { runtime::synchronize(stream); }},
      {"cudaEventCreate", "cudaEventCreate", [] { runtime::destroy_event(runtime::create_event()); }},
      {"cudaEventRecord", "cudaEventRecord", [this] { runtime::record(event, stream); }},
      {"cudaEventSynchronize", "cudaEventSynchronize", [this] { runtime::synchronize(event); }},
      {"cudaEventQuery", "cudaEventQuery", [this] { runtime::is_finished(event); }},
      {"cudaEventElapsedTime", "cudaEventElapsedTime", [this] { runtime::elapsed(event, event); }},
      {"cudaStreamBeginCapture", "cudaStreamBeginCapture", capture},
      {"cudaStreamIsCapturing", "cudaStreamIsCapturing", [this] { runtime::is_capturing(stream); }},
      {"cudaStreamEndCapture", "cudaStreamEndCapture", capture},
      {"cudaGraphGetNodes", "cudaGraphGetNodes", capture},
      {"cudaGraphInstantiate", "cudaGraphInstantiate", capture},
      {"cudaGraphLaunch", "cudaGraphLaunch", [this] { runtime::launch_graph(graph, stream); }},
      {"cudaFuncGetAttributes", "cudaFuncGetAttributes", facts},
      {"cudaGetDevice", "cudaGetDevice", facts},
      {"cudaDeviceGetAttribute", "cudaDeviceGetAttribute", facts},
      {"cudaOccupancyMaxActiveBlocksPerMultiprocessor", "cudaOccupancyMaxActiveBlocksPerMultiprocessor", facts},
  };
  for (const Call& call : calls) {
    SCOPED_TRACE(call.text);
    faults().fail(call.function, cudaErrorUnknown);
    EXPECT_EQ(error_of(call.run), std::string(call.text) + ": unknown error (cudaErrorUnknown)");
    EXPECT_NO_THROW(runtime::check_launch("kernel")) << "the next launch reports the failure again";
    EXPECT_NO_THROW(call.run());
  }
}

// What nobody waits for the result of: the same objects can be destroyed afterwards.
TEST_F(Runtime, FailuresOfDestructorsAreSwallowed) {
  struct Call {
    const char* function;
    std::function<void()> run;
  };
  void* const again = runtime::allocate(kBytes, stream);
  void* const host_again = runtime::allocate_host(kBytes);
  const runtime::Event event_again = runtime::create_event();
  const runtime::Stream stream_again = runtime::create_stream();
  runtime::begin_capture(stream);
  const runtime::GraphExec graph_again = runtime::end_capture(stream);
  const Call calls[] = {
      {"cudaFreeAsync", [&] { runtime::deallocate(again, stream); }},
      {"cudaFreeHost", [&] { runtime::deallocate_host(host_again); }},
      {"cudaEventDestroy", [&] { runtime::destroy_event(event_again); }},
      {"cudaStreamDestroy", [&] { runtime::destroy_stream(stream_again); }},
      {"cudaGraphExecDestroy", [&] { runtime::destroy_graph(graph_again); }},
  };
  for (const Call& call : calls) {
    SCOPED_TRACE(call.function);
    for (const bool fails : {true, false}) {
      if (fails) faults().fail(call.function, cudaErrorUnknown);
      EXPECT_NO_THROW(call.run());
      EXPECT_NO_THROW(runtime::check_launch("kernel"));
    }
  }
  for (const char* function : {"cudaGetDevice", "cudaDeviceGetAttribute"}) {  // then there are pools
    faults().fail(function, cudaErrorUnknown);
    void* const address = runtime::allocate(kBytes, stream);
    EXPECT_NE(address, nullptr) << function;
    runtime::deallocate(address, stream);
    EXPECT_NO_THROW(runtime::check_launch("kernel"));
  }
}

TEST_F(Runtime, TooLittleMemoryIsNull) {
  faults().fail("cudaMallocAsync", cudaErrorMemoryAllocation);
  EXPECT_EQ(runtime::allocate(kBytes, stream), nullptr);
  faults().fail("cudaHostAlloc", cudaErrorMemoryAllocation);
  EXPECT_EQ(runtime::allocate_host(kBytes), nullptr);
  EXPECT_EQ(runtime::allocate(runtime::memory_info().free + 1, stream), nullptr);
  // The stand-in calls it an invalid value, as a driver may.
  EXPECT_EQ(runtime::allocate(std::size_t{1} << 50, stream), nullptr);
  EXPECT_NO_THROW(runtime::check_launch("kernel"));
  faults().fail("cudaMallocAsync", cudaErrorInvalidValue);
  EXPECT_EQ(error_of([&] { runtime::allocate(kBytes, stream); }),
            "cudaMallocAsync: invalid argument (cudaErrorInvalidValue)");
  runtime::begin_capture(stream);
  faults().fail("cudaGraphInstantiate", cudaErrorMemoryAllocation);
  EXPECT_THROW(runtime::end_capture(stream), OutOfMemoryError);
  EXPECT_NO_THROW(runtime::check_launch("kernel"));
}

TEST_F(Runtime, DevicesWithoutPoolsAllocateAtOnce) {
  driver().pools = false;
  void* const address = runtime::allocate(kBytes, stream);
  EXPECT_NE(address, nullptr);
  runtime::deallocate(address, stream);
  EXPECT_EQ(runtime::allocate(std::size_t{1} << 50, stream), nullptr);
  faults().fail("cudaMalloc", cudaErrorUnknown);
  EXPECT_EQ(error_of([&] { runtime::allocate(kBytes, stream); }), "cudaMalloc: unknown error (cudaErrorUnknown)");
  driver().pools = true;
}

TEST_F(Runtime, BrokenAndAbandonedCapturesLeaveTheStreamAsBefore) {
  for (const bool broken : {true, false}) {
    runtime::begin_capture(stream);
    if (broken) {
      EXPECT_NE(error_of([&] { runtime::synchronize(stream); }).find("cudaErrorStreamCaptureUnsupported"),
                std::string::npos);
      EXPECT_NE(error_of([&] { runtime::end_capture(stream); }).find("cudaErrorStreamCaptureInvalidated"),
                std::string::npos);
    } else {
      runtime::set_bytes(device, 9, kBytes, stream);
      runtime::abandon_capture(stream);
    }
    runtime::launch_graph(graph, stream);
    runtime::copy_to_host(host, device, kBytes, stream);
    runtime::synchronize(stream);
    EXPECT_EQ(*static_cast<char*>(host), 7);
  }
}

// The driver's function is looked up until it is found, and then kept: this test has to be the first that needs it.
TEST_F(Runtime, TheThreadsDeviceIsRestored) {
  constexpr const char* look_up = "cudaGetDriverEntryPointByVersion";
  for (const bool fails : {true, false, false}) {  // then the device stays as it is
    runtime::set_device(1);
    if (fails) faults().fail(look_up, cudaErrorUnknown);
    runtime::restore_device(0);
    EXPECT_EQ(runtime::current_device(), fails ? 1 : 0);
  }
  EXPECT_EQ(faults().calls_of(look_up), 2u);
  runtime::set_device(0);
}

TEST_F(Runtime, KernelsAreDescribed) {
  const runtime::KernelFacts facts = runtime::kernel_facts(nullptr, 64);
  EXPECT_EQ(facts.registers, 40);
  EXPECT_EQ(facts.shared_bytes, 512u);
  EXPECT_EQ(facts.local_bytes, 8u);
  EXPECT_EQ(facts.occupancy, 0.125);
  EXPECT_EQ(facts.function, "_Z5scaleIfEvPT_");
  faults().fail("cudaFuncGetName", cudaErrorUnknown);
  EXPECT_EQ(runtime::kernel_facts(nullptr, 64).function, "");
  EXPECT_NO_THROW(runtime::check_launch("kernel"));
}

TEST_F(Runtime, RecordingsSayWhatTheyAre) {
  EXPECT_FALSE(runtime::is_capturing(stream));
  runtime::begin_capture(stream);
  EXPECT_TRUE(runtime::is_capturing(stream));
  runtime::set_bytes(device, 7, kBytes, stream);
  runtime::copy_on_device(other, device, kBytes, stream);
  std::size_t nodes = 0;
  runtime::destroy_graph(runtime::end_capture(stream, &nodes));
  EXPECT_EQ(nodes, 2u);
  EXPECT_FALSE(runtime::is_capturing(stream));
  EXPECT_TRUE(runtime::is_finished(event));
  faults().fail("cudaEventQuery", cudaErrorNotReady);
  EXPECT_FALSE(runtime::is_finished(event));
  EXPECT_NO_THROW(runtime::check_launch("kernel"));
}

// The event then has the time of an earlier pair.
TEST_F(Runtime, ProfilesLeaveOutPairsThatLostAnEvent) {
  cuda::profile::start();
  for (const bool fails : {false, false, true}) {
    const cuda::profile::Scope measured("work", stream);
    if (fails) faults().fail("cudaEventRecord", cudaErrorUnknown);
  }
  const cuda::profile::Profile profile = cuda::profile::stop();
  ASSERT_EQ(profile.rows.size(), 1u);
  EXPECT_EQ(profile.rows[0].count, 3);
  EXPECT_EQ(profile.rows[0].timed, 1);
  EXPECT_EQ(profile.untimed, 1);
  before["event"] = live_objects().counts()["event"] - 1;  // the profile keeps its events
}

TEST_F(Runtime, LaunchesAreChecked) {
  EXPECT_NO_THROW(runtime::check_launch_shape("kernel", 1, 1024));
  for (const auto& [blocks, threads] :
       {std::pair<std::int64_t, int>{0, 1}, {std::int64_t{1} << 31, 1}, {1, 0}, {1, 1025}}) {
    EXPECT_THROW(runtime::check_launch_shape("kernel", blocks, threads), ValueError);
  }
  ASSERT_NE(cudaSetDevice(99), cudaSuccess);  // as a launch would leave it
  EXPECT_EQ(error_of([] { runtime::check_launch("scale"); }),
            "launch of scale: invalid device ordinal (cudaErrorInvalidDevice)");
  EXPECT_NO_THROW(runtime::check_launch("scale"));
  EXPECT_NE(error_of([] { runtime::set_device(7); }).find("cudaErrorInvalidDevice"), std::string::npos);
}

// The GPUs are looked for once in a process: each of these is one of its own, and those come first.
void expect_devices(const Driver& found, int count, const std::string& reason) {
  EXPECT_EXIT(
      {
        driver() = found;
        std::cerr << runtime::device_count() << " devices: " << runtime::unavailable_reason() << ".\n"
                  << error_of([] { cuda::context(1); }) << '\n';
        std::exit(0);
      },
      testing::ExitedWithCode(0),
      std::to_string(count) + " devices: " + reason +
          "\\.\ndevice cuda:1 is not available: " + (count == 0 ? "" : "there is 1; ") + reason);
}

TEST(DevicesDeathTest, SayWhyThereAreNone) {
  expect_devices({.count_error = cudaErrorInsufficientDriver, .version = 0}, 0, "no NVIDIA driver is installed");
  expect_devices({.count_error = cudaErrorInsufficientDriver, .version = 11080}, 0,
                 "the NVIDIA driver is too old: it supports CUDA 11.8, this build of weft needs [0-9.]+");
  expect_devices({.count_error = cudaErrorNoDevice}, 0, "the NVIDIA driver sees no GPU");
  expect_devices({.gpus = {}}, 0, "the NVIDIA driver sees no GPU");
  expect_devices({.count_error = cudaErrorUnknown}, 0, "cudaGetDeviceCount: unknown error \\(cudaErrorUnknown\\)");
}

TEST(DevicesDeathTest, BelowCapability8AreNotUsable) {
  const std::string reason = "Tesla T4 \\(CUDA's device 0\\) has compute capability 7.5, weft needs 8.0 or more";
  expect_devices({.gpus = {{"Tesla T4", 7, 5}}}, 0, reason);
  expect_devices({.gpus = {{"Tesla T4", 7, 5}, {"NVIDIA A100", 8, 0}}}, 1, reason);
  expect_devices({.gpus = {{"Tesla T4", 7, 5}, {"Tesla P100", 6, 0}}}, 0,
                 reason + "; Tesla P100 \\(CUDA's device 1\\) has compute capability 6.0, weft needs 8.0 or more");
}

void show_the_only_usable_device() {
  driver() = {.gpus = {{"Tesla T4", 7, 5}, {"NVIDIA A100", 8, 0}}};
  std::cerr << runtime::properties(0).name;
  runtime::set_device(0);
  std::cerr << ", CUDA's device " << cuda_on_cpu::current_device();
  std::exit(0);
}

TEST(DevicesDeathTest, AreNumberedWithoutTheUnusableOnes) {
  EXPECT_EXIT(show_the_only_usable_device(), testing::ExitedWithCode(0), "NVIDIA A100, CUDA's device 1");
}

TEST(DevicesDeathTest, ThatCannotBeAskedAreNotUsable) {
  EXPECT_EXIT(
      {
        faults().fail("cudaGetDeviceProperties", cudaErrorUnknown);
        std::cerr << runtime::device_count() << ' ' << runtime::unavailable_reason();
        std::exit(0);
      },
      testing::ExitedWithCode(0), "0 cudaGetDeviceProperties of CUDA's device 0: unknown error");
}

}  // namespace
}  // namespace weft::cuda_libraries
