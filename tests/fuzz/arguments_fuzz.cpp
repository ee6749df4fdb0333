#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <new>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "nn/cli/commands.h"
#include "tests/fuzz/fuzz_input.h"

// The program's arguments, one a line of the input. They are refused as usage errors or run; where a command would go
// on to images, the run ends with a typed error instead (load_split is wrapped), so nothing is trained or written.

// The linker's --wrap takes calls of weft::cli::load_split here.
weft::nn::ImageDataset no_images(const std::string& data, weft::nn::Split split, std::int64_t limit) asm(
    "__wrap__ZN4weft3cli10load_splitERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEENS_2nn5SplitEl");
weft::nn::ImageDataset no_images(const std::string&, weft::nn::Split, std::int64_t limit) {
  if (limit < 0) weft::fuzz::fail("a negative limit was let through");
  throw weft::IoError("images are not read here");
}

namespace {

/// Whatever the arguments name is sought in an empty folder, and what is printed goes nowhere.
void set_up() {
  std::string folder = (std::filesystem::temp_directory_path() / "weft_arguments_fuzz_XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr || chdir(folder.c_str()) != 0) weft::fuzz::fail("no temporary folder");
  std::filesystem::remove(folder);
  if (std::freopen("/dev/null", "w", stdout) == nullptr) weft::fuzz::fail("no /dev/null");
  std::cerr.rdbuf(nullptr);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool is_set_up = (set_up(), true);
  static_cast<void>(is_set_up);
  std::vector<std::string> arguments = {"weft"};
  std::istringstream lines(std::string(reinterpret_cast<const char*>(data), size));
  for (std::string line; std::getline(lines, line);) arguments.push_back(line);
  std::vector<const char*> argv;
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());

  CLI::App app("weft trains ResNet9 on CIFAR-10.", "weft");
  app.require_subcommand(1);
  app.set_version_flag("--version", "0");
  const std::vector<std::pair<std::string, weft::cli::Command>> commands = {
      {"train", weft::cli::add_train(app)}, {"eval", weft::cli::add_eval(app)}, {"info", weft::cli::add_info(app)}};
  try {
    app.parse(static_cast<int>(argv.size()), argv.data());
  } catch (const CLI::ParseError& error) {
    std::ostringstream out, err;
    app.exit(error, out, err);
    if (out.str().empty() && err.str().empty()) weft::fuzz::fail("a usage error without a word");
    return 0;
  }
  try {
    for (const auto& [name, command] : commands) {
      if (app.got_subcommand(name) && command() != weft::cli::kOk) weft::fuzz::fail("a command ended in silence");
    }
  } catch (const weft::Error&) {
  } catch (const std::bad_alloc&) {
  }
  return 0;
}
