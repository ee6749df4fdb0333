// These tests show that cuda/runtime/profile.h counts launches, products and copies, and that a profile changes nothing
// else.
#include "cuda/runtime/profile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cuda_on_cpu.h"
#include "weft/weft.h"

namespace weft {
namespace {

namespace profile = cuda::profile;

/// Counts the launches of a name over all functions that have it.
std::int64_t count_of(const profile::Profile& found, const std::string& name) {
  std::int64_t count = 0;
  for (const profile::Row& row : found.rows) count += row.name == name ? row.count : 0;
  return count;
}
std::int64_t kernels_of(const profile::Profile& found) {
  std::int64_t count = 0;
  for (const profile::Row& row : found.rows) count += row.threads > 0 ? row.count : 0;
  return count;
}

/// Runs two products of f32 and one of f64, copies to and from the device, an addition and a sum.
void work() {
  const Tensor a = ones({4, 3}, {.device = Device::cuda()}), b = ones({3, 5}, {.device = Device::cuda()});
  const Tensor y = matmul(a, b) + matmul(a, b);
  EXPECT_EQ(sum(y).item<float>(), 120.0f);
  matmul(a.to(DType::f64), b.to(DType::f64));
  arange(0, 3).to(Device::cuda());
}

TEST(Profile, CountsEachLaunchOnce) {
  work();
  const std::uint64_t before = cuda_on_cpu::launches();
  work();
  const auto launches = static_cast<std::int64_t>(cuda_on_cpu::launches() - before);
  profile::start();
  for (int i = 0; i < 3; ++i) work();
  const profile::Profile found = profile::stop();
  EXPECT_GT(launches, 5);
  EXPECT_EQ(kernels_of(found), 3 * launches);
  EXPECT_EQ(count_of(found, "cublasLt matmul 5x4x3 f32"), 6);
  EXPECT_EQ(count_of(found, "cublasLt matmul 5x4x3 f64"), 3);
  EXPECT_EQ(count_of(found, "copy to the device"), 3);
  EXPECT_EQ(count_of(found, "copy to the host"), 3);
  EXPECT_EQ(found.untimed, 0);
  EXPECT_EQ(found.captured, 0);
  EXPECT_GT(found.empty_us, 0);
  for (const profile::Row& row : found.rows) {
    EXPECT_EQ(row.timed, row.count - 1) << row.name;
    EXPECT_GT(row.us, 0) << row.name;
    EXPECT_GT(row.first_us, 0) << row.name;
    EXPECT_EQ(row.blocks > 0, row.threads > 0) << row.name;
  }
  EXPECT_TRUE(std::is_sorted(found.rows.begin(), found.rows.end(),
                             [](const profile::Row& a, const profile::Row& b) { return a.us > b.us; }));
  work();
  EXPECT_EQ(kernels_of(profile::stop()), 3 * launches) << "launches after stop() count";
  profile::start();
  EXPECT_TRUE(profile::stop().rows.empty()) << "start() does not forget";
}

TEST(Profile, ReadsMoreLaunchesThanItKeeps) {
  const Tensor x = ones({4}, {.device = Device::cuda()});
  profile::start();
  for (int i = 0; i < 1500; ++i) x + x;
  const profile::Profile found = profile::stop();
  EXPECT_EQ(kernels_of(found), 1500);
  ASSERT_EQ(found.rows.size(), 1u);
  EXPECT_EQ(found.rows[0].timed, 1499);
}

TEST(Profile, NumbersTheFunctionsOfAName) {
  const TensorOptions gpu{.device = Device::cuda()}, gpu64{.dtype = DType::f64, .device = Device::cuda()};
  const Tensor x = ones({5}, gpu), y = ones({5}, gpu64);
  profile::start();
  for (int i = 0; i < 2; ++i) sum(x), sum(y);
  std::vector<int> instances;
  for (const profile::Row& row : profile::stop().rows) {
    if (row.name == "reduce" || row.name == "sum") instances.push_back(row.instance);
  }
  std::sort(instances.begin(), instances.end());
  EXPECT_EQ(instances, (std::vector<int>{1, 2}));
}

/// Returns the weights after four steps, the second of which is captured, and the nodes of the graph.
std::pair<std::vector<float>, std::int64_t> train() {
  manual_seed(5);
  const Tensor weight(Array::full({3}, 1, DType::f32, Device::cuda()), true);
  nn::SGD optimizer({weight}, {.lr = 0.5, .momentum = 0.9});
  StepGraph graph(Device::cuda());
  for (int i = 0; i < 4; ++i) {
    graph.run([&] {
      optimizer.zero_grad();
      sum(weight * weight * rand({3}, {.device = Device::cuda()})).backward();
      optimizer.step();
    });
    EXPECT_EQ(graph.nodes() > 0, i > 0);
  }
  EXPECT_TRUE(graph.is_captured());
  return {weight.to_vector<float>(), graph.nodes()};
}

TEST(Profile, LeavesCapturesAlone) {
  const auto expected = train();
  profile::start();
  const auto found = train();
  const profile::Profile profiled = profile::stop();
  EXPECT_EQ(found, expected);
  EXPECT_EQ(profiled.captured, found.second);
  const std::int64_t eager = kernels_of(profiled);
  EXPECT_GT(eager, 5);
  EXPECT_LT(eager, 2 * found.second) << "captured or replayed kernels count";
}

TEST(Profile, IsWrittenAsLinesOfJson) {
  const std::filesystem::path file = std::filesystem::temp_directory_path() / "weft_profile_cuda_test.jsonl";
  profile::start();
  work();
  work();
  const profile::Profile found = profile::stop();
  profile::write(file.string(), found);
  std::ifstream in(file);
  std::string line;
  std::size_t rows = 0;
  double share = 0;
  while (std::getline(in, line)) {
    const nlohmann::json row = nlohmann::json::parse(line);
    if (row.at("what") == "profile") {
      EXPECT_EQ(rows, 0u);
      EXPECT_EQ(row.at("untimed"), 0);
      continue;
    }
    EXPECT_EQ(row.at("what"), "kernel");
    EXPECT_EQ(row.at("name"), found.rows.at(rows).name);
    EXPECT_EQ(row.at("count"), found.rows.at(rows).count);
    EXPECT_EQ(row.contains("registers"), found.rows.at(rows).threads > 0);
    share += row.at("share").get<double>();
    ++rows;
  }
  EXPECT_EQ(rows, found.rows.size());
  EXPECT_NEAR(share, 1, 0.02);
  std::filesystem::remove(file);
}

TEST(Profile, ThatCannotBeWrittenIsAnError) {
  EXPECT_THROW(profile::write("/nonexistent/profile.jsonl", {}), IoError);
  EXPECT_THROW(profile::write("/dev/full", {}), IoError);
}

// Runs one test of this program in a process that has the variable set. Returns 0 where it reports a lost profile.
int run_again(const std::string& file) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string command =
      "WEFT_CUDA_PROFILE='" + file + "' '" + program + "' --gtest_filter=Profile.LeavesResultsAlone 2>&1 > /dev/null";
  return std::system((command + " | grep -q 'the profile is lost: the profile cannot be written'").c_str());
}

// The next test runs this one again with a profile.
TEST(Profile, LeavesResultsAlone) { work(); }

TEST(Profile, OfTheEnvironmentIsWrittenAtTheExit) {
  const std::filesystem::path file = std::filesystem::temp_directory_path() / "weft_profile_at_exit.jsonl";
  EXPECT_NE(run_again(file.string()), 0) << "an error was reported";
  std::ifstream in(file);
  std::string line;
  std::vector<std::string> names;
  while (std::getline(in, line)) names.push_back(nlohmann::json::parse(line).value("name", ""));
  EXPECT_NE(std::find(names.begin(), names.end(), "cublasLt matmul 5x4x3 f32"), names.end());
  std::filesystem::remove(file);
  EXPECT_EQ(run_again("/nonexistent/profile.jsonl"), 0) << "no error was reported";
}

}  // namespace
}  // namespace weft
