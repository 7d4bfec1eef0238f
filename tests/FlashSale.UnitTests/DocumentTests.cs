using System.Text.RegularExpressions;
using FlashSale.UnitTests.Layout;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace FlashSale.UnitTests;

/// <summary>
/// Checks that the README and the pages of docs/ are right, as far as a test can read them. scripts/docs.sh runs their
/// commands.
/// </summary>
public sealed partial class DocumentTests
{
    private const int Columns = 120;

    // A new console project has these usings by itself.
    private const string ImplicitUsings = """
        global using System; global using System.Collections.Generic; global using System.IO; global using System.Linq;
        global using System.Net.Http; global using System.Threading; global using System.Threading.Tasks;
        """;

    private static readonly string[] Shells = ["console", "sh"];

    private static IEnumerable<string> Pages =>
        Directory.GetFiles(Path.Combine(Repository.Root, "docs"), "*.md").Select(path => $"docs/{Path.GetFileName(path)}")
            .Prepend("loadtests/README.md").Prepend("README.md");

    [Fact]
    public void Every_program_compiles()
    {
        var programs = Blocks("csharp").ToList();
        Assert.NotEmpty(programs);
        Assert.All(programs, program => Assert.Empty(Errors(program)));
    }

    [Fact]
    public void A_program_that_does_not_compile_is_caught() =>
        Assert.NotEmpty(Errors("var wire = new HttpWire(new Uri(\"http://127.0.0.1:8080\"), maxConnections: 256);"));

    [Fact]
    public void Every_script_that_is_called_is_there()
    {
        var called = Shells.SelectMany(Blocks).SelectMany(block => Script().Matches(block)).Select(match => match.Groups[1].Value).Distinct().ToList();
        Assert.NotEmpty(called);
        Assert.All(called, script => Assert.True(File.Exists(Path.Combine(Repository.Root, script)), script));
    }

    [Fact]
    public void Every_link_leads_to_a_file_and_a_heading() => Assert.Empty(Pages.SelectMany(page => DeadLinks(page, Repository.Read(page))));

    [Theory]
    [InlineData("[gone](docs/gone.md)")]
    [InlineData("[no such heading](docs/api.md#no-such-heading)")]
    public void A_dead_link_is_caught(string text) => Assert.Single(DeadLinks("README.md", text));

    [Fact]
    public void Every_page_is_linked_from_the_readme()
    {
        var linked = Link().Matches(Repository.Read("README.md")).Select(match => match.Groups[1].Value.Split('#')[0]).ToHashSet(StringComparer.Ordinal);
        Assert.DoesNotContain(Pages, page => page.StartsWith("docs/", StringComparison.Ordinal) && !linked.Contains(page));
    }

    [Fact]
    public void Every_folder_of_the_source_is_described()
    {
        var page = Repository.Read("docs/architecture.md");
        var folders = Directory.GetDirectories(Path.Combine(Repository.Root, "src")).Select(path => $"src/{Path.GetFileName(path)}")
            .Concat(Directory.GetDirectories(Path.Combine(Repository.Root, "src/FlashSale.Core")).Where(path => Path.GetFileName(path) is not ("bin" or "obj")).Select(path => $"src/FlashSale.Core/{Path.GetFileName(path)}"))
            .ToList();
        Assert.True(folders.Count > 8, string.Join(' ', folders));
        Assert.DoesNotContain(folders, folder => !page.Contains($"| `{folder}` |", StringComparison.Ordinal));
    }

    [Fact]
    public void The_readme_is_short() => Assert.InRange(Repository.Read("README.md").Split('\n').Length, 50, 150);

    [Fact]
    public void Prose_fits_into_the_window() => Assert.Empty(Pages.SelectMany(page => WideLines(page, Repository.Read(page))));

    [Fact]
    public void A_wide_line_is_caught() => Assert.Single(WideLines("README.md", new string('x', Columns + 1)));

    private static IEnumerable<string> Errors(string program)
    {
        var references = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator).Select(path => MetadataReference.CreateFromFile(path));
        return CSharpCompilation.Create("page", [CSharpSyntaxTree.ParseText(ImplicitUsings), CSharpSyntaxTree.ParseText(program)], references, new(OutputKind.ConsoleApplication))
            .GetDiagnostics().Where(diagnostic => diagnostic.Severity is DiagnosticSeverity.Error).Select(diagnostic => diagnostic.ToString());
    }

    private static IEnumerable<string> Blocks(string language) =>
        Pages.SelectMany(page => Block().Matches(Repository.Read(page))).Where(match => match.Groups[1].Value == language).Select(match => match.Groups[2].Value);

    private static IEnumerable<string> DeadLinks(string page, string text)
    {
        foreach (var target in Link().Matches(Block().Replace(text, "")).Select(match => match.Groups[1].Value).Where(target => !target.StartsWith("http", StringComparison.Ordinal)))
        {
            var parts = target.Split('#');
            var path = parts[0].Length == 0 ? page : Path.GetRelativePath(Repository.Root, Path.GetFullPath(Path.Combine(Repository.Root, Path.GetDirectoryName(page)!, parts[0])));
            var full = Path.Combine(Repository.Root, path);
            if (!Path.Exists(full) || (parts.Length > 1 && !Anchors(File.ReadAllText(full)).Contains(parts[1]))) yield return $"{page}: {target}";
        }
    }

    // Makes the anchors of headings as GitHub does.
    private static IEnumerable<string> Anchors(string page) =>
        Heading().Matches(page).Select(match => NoAnchor().Replace(match.Groups[1].Value.ToLowerInvariant(), "").Replace(' ', '-'));

    // Tables and code cannot be wrapped.
    private static IEnumerable<string> WideLines(string page, string text) =>
        Block().Replace(text, "").Split('\n').Where(line => line.Length > Columns && !line.StartsWith('|')).Select(line => $"{page}: {line}");

    [GeneratedRegex("^```(\\w*)\\n(.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Block();

    [GeneratedRegex(@"\./(scripts/[a-z-]+\.sh)")]
    private static partial Regex Script();

    [GeneratedRegex(@"\]\(([^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex("^#+ (.+)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex(@"[^\w\- ]")]
    private static partial Regex NoAnchor();
}
