#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "tests/fuzz/random_input.h"

// What libFuzzer's main does, for compilers that have no libFuzzer:
//   replay [--seconds S] [--seed N] FILE-OR-FOLDER...
// gives each file to the target once. The name is printed first, so that the last one printed is the one that failed.
// Then, for S seconds, it gives the target inputs that are drawn from those files and from the number N (1). What
// covers new code is not looked at: libFuzzer is better for a long run. An input that ends the process, or that takes
// 10 seconds, is written to ./failed_input.

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

/// A sanitizer that finds something calls abort(), which on_abort sees. The memory limit is in MiB.
extern "C" const char* __asan_default_options() { return "abort_on_error=1:hard_rss_limit_mb=3000"; }
extern "C" const char* __ubsan_default_options() { return "abort_on_error=1:print_stacktrace=1"; }

namespace {

namespace fs = std::filesystem;
using weft::fuzz::Bytes;

constexpr std::size_t kMostBytes = 4096;
constexpr unsigned kMostSeconds = 10;

Bytes current;  // the input that the target has

void on_abort(int /*signal*/) {
  static const char kName[] = "failed_input";
  if (std::FILE* file = std::fopen(kName, "wb")) {
    std::fwrite(current.data(), 1, current.size(), file);
    std::fclose(file);
    std::fprintf(stderr, "the input is in ./%s\n", kName);
  }
}

void on_alarm(int /*signal*/) {
  std::fprintf(stderr, "an input took %u seconds\n", kMostSeconds);
  std::abort();
}

/// A copy of exactly its size on the heap: reading past it is an error that a sanitizer sees.
void give(const Bytes& bytes) {
  current = bytes;
  current.shrink_to_fit();
  ::alarm(kMostSeconds);
  LLVMFuzzerTestOneInput(current.data(), current.size());
  ::alarm(0);
}

int usage() {
  std::fprintf(stderr, "usage: replay [--seconds S] [--seed N] FILE-OR-FOLDER...\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<fs::path> files;
  std::uint64_t seconds = 0, seed = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--seconds" || argument == "--seed") {
      if (++i == argc) return usage();
      const char* end = argv[i] + std::strlen(argv[i]);
      if (std::from_chars(argv[i], end, argument == "--seed" ? seed : seconds).ptr != end) return usage();
    } else if (fs::is_directory(argument)) {
      for (const auto& entry : fs::directory_iterator(argument)) files.push_back(entry.path());
    } else {
      files.emplace_back(argument);
    }
  }
  if (files.empty()) return usage();
  std::sort(files.begin(), files.end());
  std::signal(SIGABRT, on_abort);
  std::signal(SIGALRM, on_alarm);

  std::vector<Bytes> inputs;
  for (const fs::path& file : files) {
    std::fprintf(stderr, "%s\n", file.c_str());
    std::ifstream stream(file, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(stream), {}};
    if (!stream) {
      std::fprintf(stderr, "cannot be read\n");
      return EXIT_FAILURE;
    }
    inputs.emplace_back(bytes.begin(), bytes.end());
    give(inputs.back());
  }
  std::size_t drawn = 0;
  std::mt19937_64 random(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  for (; std::chrono::steady_clock::now() < end; ++drawn) {
    give(weft::fuzz::random_input(inputs, kMostBytes, random));
  }
  std::fprintf(stderr, "%zu inputs, %zu drawn from them\n", inputs.size(), drawn);
  return EXIT_SUCCESS;
}
