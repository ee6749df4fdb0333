#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "module.h"

namespace weft::ptx_on_cpu {

/// Turns the text of a function into its instructions.
class Decoder {
 public:
  Decoder(Module& module, Function& function) : module_(module), f_(function) {}
  /// Throws PtxError with the line and the statement.
  void decode();

 private:
  struct Register {
    std::uint32_t place;
    int width;
  };
  struct Family {  ///< .reg .b32 %r<79>
    std::string prefix;
    std::uint64_t count;
    Register first;
  };
  struct Scope {
    std::map<std::string, Register, std::less<>> registers;
    std::vector<Family> families;
    std::map<std::string, std::pair<std::uint32_t, std::size_t>, std::less<>> parameters;  ///< of calls: place, bytes
  };

  void formals();
  void statements();
  void statement(std::string_view text, int line);
  void declaration(std::string_view text);
  void variable(std::string_view text);
  void instruction(std::string_view text, int line);
  void plain(Instruction& in, const std::string& opcode, const std::vector<std::string>& operands);
  bool narrow(Instruction& in, std::string_view text, int width);
  void move(Instruction& in, const std::string& opcode, const std::vector<std::string>& operands);
  void memory(Instruction& in, const std::string& opcode, const std::vector<std::string>& operands);
  void call(Instruction& in, std::string_view text);
  void address(Instruction& in, std::string_view operand, const std::string& space);
  void resolve_branches();

  const Register* find_register(std::string_view name);
  Register declared(std::string_view name);
  Register operand(std::string_view text, int width);
  std::uint32_t constant(std::uint64_t bits, int width, Constant::Kind kind = Constant::Kind::bits);
  void add_shared(const std::string& name, std::size_t bytes, std::size_t align);
  bool symbol(std::string_view name, std::uint64_t& value);
  std::pair<std::uint32_t, std::size_t> call_parameter(std::string_view name) const;
  std::uint32_t new_register(int width);
  std::uint32_t new_local(std::size_t bytes, std::size_t align);
  [[noreturn]] void fail(const std::string& what) const;

  Module& module_;
  Function& f_;
  std::vector<Scope> scopes_;
  std::vector<Register> found_;  // so that find_register can return a pointer to what a family has
  std::map<std::string, std::uint32_t, std::less<>> labels_, locals_;
  std::vector<std::pair<std::size_t, std::string>> branches_;
  std::map<std::pair<std::uint64_t, int>, std::uint32_t> constants_;
  int line_ = 0;
  std::string statement_;
};

}  // namespace weft::ptx_on_cpu
