using System.Text.RegularExpressions;
using FlashSale.UnitTests.Layout;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace FlashSale.UnitTests;

/// <summary>What the README prints for readers to copy is right.</summary>
public sealed partial class ReadmeTests
{
    // What a new console project imports by itself.
    private const string ImplicitUsings = """
        global using System; global using System.Collections.Generic; global using System.IO; global using System.Linq;
        global using System.Net.Http; global using System.Threading; global using System.Threading.Tasks;
        """;

    private static readonly string[] Shells = ["console", "sh"];

    [Fact]
    public void Every_program_compiles()
    {
        var programs = Blocks().Where(block => block.Language == "csharp").ToList();
        Assert.NotEmpty(programs);
        Assert.All(programs, program => Assert.Empty(Errors(program.Text)));
    }

    [Fact]
    public void A_program_that_does_not_compile_is_caught() => Assert.NotEmpty(Errors("var wire = new HttpWire(new Uri(\"http://127.0.0.1:8080\"), maxConnections: 256);"));

    [Fact]
    public void Every_script_that_is_called_is_there()
    {
        var called = Blocks().Where(block => Shells.Contains(block.Language)).SelectMany(block => Script().Matches(block.Text)).Select(match => match.Groups[1].Value).Distinct().ToList();
        Assert.NotEmpty(called);
        Assert.All(called, script => Assert.True(File.Exists(Path.Combine(Repository.Root, script)), script));
    }

    private static IEnumerable<string> Errors(string program)
    {
        var references = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator).Select(path => MetadataReference.CreateFromFile(path));
        return CSharpCompilation.Create("readme", [CSharpSyntaxTree.ParseText(ImplicitUsings), CSharpSyntaxTree.ParseText(program)], references, new(OutputKind.ConsoleApplication))
            .GetDiagnostics().Where(diagnostic => diagnostic.Severity is DiagnosticSeverity.Error).Select(diagnostic => diagnostic.ToString());
    }

    private static IEnumerable<(string Language, string Text)> Blocks() =>
        Block().Matches(Repository.Read("README.md")).Select(match => (match.Groups[1].Value, match.Groups[2].Value));

    [GeneratedRegex("^```(\\w*)\\n(.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Block();

    [GeneratedRegex(@"\./(scripts/[a-z-]+\.sh)")]
    private static partial Regex Script();
}
