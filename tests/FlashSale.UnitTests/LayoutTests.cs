using System.Text.RegularExpressions;
using System.Xml.Linq;
using FlashSale.UnitTests.Layout;

namespace FlashSale.UnitTests;

/// <summary>
/// Checks the house rules that a machine can check. Each rule is first shown a violation, because a check that cannot
/// fail is worth nothing.
/// </summary>
public sealed partial class LayoutTests
{
    private const string Core = "src/FlashSale.Core/";

    [Fact]
    public void Folders_of_core_import_leftward_only_in_source() =>
        Assert.Empty(Repository.Files(Core, "*.cs").SelectMany(path =>
            ImportRules.ViolationsOfSource(path[Core.Length..].Split('/')[0], path, Repository.Read(path))));

    [Fact]
    public void Folders_of_core_import_leftward_only_as_compiled() =>
        Assert.Empty(ImportRules.ViolationsOf(typeof(FlashSale.Platform.Problem).Assembly));

    [Fact]
    public void Every_source_file_of_core_lies_in_a_known_folder() =>
        Assert.All(Repository.Files(Core, "*.cs"), path => Assert.Contains(path[Core.Length..].Split('/')[0], ImportRules.Folders));

    [Theory]
    [InlineData("Platform", "using FlashSale.Contracts;")]
    [InlineData("Contracts", "using static FlashSale.Platform.Problem;")]
    [InlineData("Sales", "global using P = FlashSale.Stock.ReserveScript;")]
    [InlineData("Stock", "class A { object o = new global::FlashSale . Admission.JwtOptions(); }")]
    [InlineData("Admission", "/* FlashSale.Sales */ class A { string s = \"\\\"//\"; FlashSale.Stock.B b; }")]
    [InlineData("Orders", "class A { char q = '\"'; FlashSale.Ledger.B b; }")]
    [InlineData("Orders", "class A { string q = @\"\\\"; FlashSale.Ledger.B b; }")]
    [InlineData("Orders", "class A { string q = \"\"\"a\"b\"\"\"; FlashSale.Ledger.B b; }")]
    public void A_source_that_imports_rightward_is_caught(string folder, string source) =>
        Assert.Single(ImportRules.ViolationsOfSource(folder, "Bad.cs", $"{source}\nnamespace FlashSale.{folder};"));

    [Theory]
    [InlineData("Sales", "using FlashSale.Platform; using FlashSale.Contracts; using FlashSale.Sales;")]
    [InlineData("Ledger", "using FlashSale.Orders; using FlashSale.Stock; using FlashSale.Admission;")]
    [InlineData("Platform", "/// <see cref=\"FlashSale.Ledger.X\"/>\n// FlashSale.Orders.X\nclass A { string s = \"FlashSale.Orders\", t = @\"FlashSale.\"\"Orders\", u = \"\"\"FlashSale.Orders\"\"\"; }")]
    public void A_source_that_imports_leftward_or_only_talks_of_others_is_not(string folder, string source) =>
        Assert.Empty(ImportRules.ViolationsOfSource(folder, "Good.cs", $"{source}\nnamespace FlashSale.{folder};"));

    [Fact]
    public void A_source_whose_namespace_is_not_its_folder_is_caught() =>
        Assert.Single(ImportRules.ViolationsOfSource("Sales", "Bad.cs", "namespace FlashSale.Ledger;"), violation => violation.Contains("is in namespace"));

    [Fact]
    public void A_compiled_type_that_reaches_rightward_is_caught_wherever_it_hides()
    {
        var here = typeof(FlashSale.Platform.Synthetic.Reaching).Assembly;
        foreach (var target in new[] { "InCode", "InLambda", "InAsync", "AsArgument", "InSignature" })
            Assert.NotEmpty(ImportRules.Reaching(here, "Platform", "FlashSale.Ledger.Synthetic." + target));
        Assert.NotEmpty(ImportRules.ViolationsOf(here));
    }

    [Fact]
    public void No_host_refers_to_another() => Assert.Empty(Hosts().SelectMany(host => HostViolations(
        host, Repository.Read($"src/{host}/{host}.csproj"), Repository.Files($"src/{host}", "*.cs").Select(Repository.Read))));

    [Fact]
    public void A_host_that_refers_to_another_is_caught()
    {
        Assert.Single(HostViolations("FlashSale.Api", "<P><ProjectReference Include=\"..\\FlashSale.Admin\\FlashSale.Admin.csproj\"/></P>", []));
        Assert.Single(HostViolations("FlashSale.Api", "<P><Compile Include=\"../FlashSale.Worker/Relay.cs\"/></P>", []));
        Assert.Single(HostViolations("FlashSale.Core", "<P/>", ["using FlashSale.Api.Purchase;"]));
        Assert.Empty(HostViolations("FlashSale.Api", "<P><ProjectReference Include=\"..\\FlashSale.Core\\FlashSale.Core.csproj\"/></P>", ["using FlashSale.Api.Orders;"]));
    }

    [Fact]
    public void Every_script_has_a_header_and_one_caller()
    {
        var sources = Repository.Files("src", "*.cs").Select(Repository.Read).Select(CSharpText.WithoutComments).ToArray();
        var scripts = Repository.Files(Core, "*.lua").Concat(Repository.Files(Core, "*.sql")).ToArray();
        Assert.NotEmpty(scripts);
        Assert.Empty(scripts.SelectMany(path => ScriptViolations(path, Repository.Read(path), sources)));
    }

    [Fact]
    public void A_script_without_a_header_or_with_other_than_one_caller_is_caught()
    {
        const string Header = "-- take: takes.\n-- KEYS none. ARGV none. Answers 1. Invariant: none.\n";
        string[] one = ["new RedisScript(\"Stock.take.lua\")"], folder = ["const string Folder = \"Stock.\";"];
        Assert.Empty(ScriptViolations("src/FlashSale.Core/Stock/take.lua", Header, one));
        Assert.Empty(ScriptViolations("src/FlashSale.Core/Stock/take.sql", "-- take\nselect 1", folder));
        Assert.Empty(ScriptViolations("src/FlashSale.Core/Stock/take.lua", "-- take: takes. Invariant: none.\n", ["new(\"Stock.take.lua\", \"Stock.a.lua\")", "new(\"Stock.take.lua\", \"Stock.b.lua\")"]));
        Assert.Single(ScriptViolations("src/FlashSale.Core/Stock/take.lua", "-- take: takes. Invariant: none.\n", ["new(\"Stock.take.lua\", \"Stock.a.lua\")"]));
        Assert.Single(ScriptViolations("src/FlashSale.Core/Stock/take.lua", "return 1", one));
        Assert.Single(ScriptViolations("src/FlashSale.Core/Stock/take.lua", Header.Replace("ARGV", "") + "return ARGV[1]", one));
        Assert.Single(ScriptViolations("src/FlashSale.Core/Stock/take.lua", Header.Replace("Invariant", ""), one));
        Assert.Single(ScriptViolations("src/FlashSale.Core/Stock/take.lua", Header, []));
        Assert.Single(ScriptViolations("src/FlashSale.Core/Stock/take.lua", Header, [one[0], one[0]]));
        Assert.Single(ScriptViolations("src/FlashSale.Core/Stock/take.lua", Header, [.. one, .. folder]));
    }

    [Fact]
    public void Versions_of_packages_stand_in_one_place_and_are_exact()
    {
        var projects = Repository.Files(".", "*.csproj").Concat(Repository.Files(".", "*.props")).Concat(Repository.Files(".", "*.targets")).ToArray();
        Assert.NotEmpty(projects);
        Assert.Empty(projects.SelectMany(path => VersionViolations(path, Repository.Read(path))));
        Assert.All(Repository.Files(".", "*.csproj"), path => Assert.True(File.Exists(Path.Combine(Repository.Root, Path.GetDirectoryName(path)!, "packages.lock.json")), $"{path} has no lock file"));
    }

    [Theory]
    [InlineData("<P><PackageReference Include=\"A\" Version=\"1.0.0\"/></P>")]
    [InlineData("<P><PackageReference Include=\"A\" VersionOverride=\"1.0.0\"/></P>")]
    [InlineData("<P><PackageReference Include=\"A\"><Version>1.0.0</Version></PackageReference></P>")]
    [InlineData("<P><PackageVersion Include=\"A\" Version=\"1.*\"/></P>")]
    [InlineData("<P><PackageVersion Include=\"A\" Version=\"[1.0,2.0)\"/></P>")]
    [InlineData("<P><PackageVersion Include=\"A\" Version=\"$(AVersion)\"/></P>")]
    [InlineData("<P><PackageVersion Include=\"A\"/></P>")]
    [InlineData("<P><PackageVersion Include=\"A\" Version=\"1.0.0\"/><PackageVersion Include=\"a\" Version=\"1.0.1\"/></P>")]
    public void A_version_elsewhere_or_a_loose_one_is_caught(string project) => Assert.Single(VersionViolations("Bad.csproj", project));

    private static IEnumerable<string> Hosts() => Directory.GetDirectories(Path.Combine(Repository.Root, "src")).Select(path => Path.GetFileName(path));

    // Core counts as one of the hosts here, because it must not know its hosts either.
    private static IEnumerable<string> HostViolations(string project, string projectFile, IEnumerable<string> sources)
    {
        var others = new[] { "FlashSale.Api", "FlashSale.Admin", "FlashSale.Worker", "FlashSale.PaymentSandbox" }.Where(host => host != project).ToArray();
        var attributes = XDocument.Parse(projectFile).Descendants().Attributes().Select(attribute => attribute.Value).ToArray();
        foreach (var other in others.Where(other => attributes.Any(value => value.Contains(other, StringComparison.OrdinalIgnoreCase))))
            yield return $"{project}.csproj mentions {other}";
        foreach (var other in others.Where(other => sources.Any(source => Regex.IsMatch(CSharpText.CodeOnly(source), $@"\b{Regex.Escape(other)}\b"))))
            yield return $"sources of {project} mention {other}";
    }

    private static IEnumerable<string> ScriptViolations(string path, string text, string[] sources)
    {
        var lines = text.Split('\n');
        var header = string.Concat(lines.TakeWhile(line => line.StartsWith("--", StringComparison.Ordinal)));
        var body = string.Concat(lines.SkipWhile(line => line.StartsWith("--", StringComparison.Ordinal)));
        var resource = path[Core.Length..].Replace('/', '.');
        // A file of shared functions begins several scripts. So the callers name it before each of those scripts.
        var isShared = sources.Any(source => source.Contains($"\"{resource}\", \"", StringComparison.Ordinal));
        List<string> parts = !path.EndsWith(".lua", StringComparison.Ordinal) ? [] : isShared ? ["Invariant"] : ["Answers", "Invariant"];
        parts.AddRange(new[] { "KEYS", "ARGV" }.Where(part => body.Contains(part + "[", StringComparison.Ordinal)));
        if (header.Length == 0 || !parts.All(part => header.Contains(part, StringComparison.Ordinal)))
            yield return $"{path}: its header does not tell keys, arguments, answers and invariant";

        // A caller names the resource. If it takes all files of a folder in order, as migrations do, it names the
        // folder.
        var folder = path[Core.Length..(path.LastIndexOf('/') + 1)].Replace('/', '.');
        var callers = sources.Count(source => source.Contains($"\"{resource}\"", StringComparison.Ordinal) || source.Contains($"\"{folder}\"", StringComparison.Ordinal));
        if (isShared ? callers < 2 : callers != 1) yield return $"{path}: {callers} C# files name it, must be {(isShared ? "two or more" : "1")}";
    }

    private static IEnumerable<string> VersionViolations(string path, string project)
    {
        var elements = XDocument.Parse(project).Descendants().ToArray();
        foreach (var reference in elements.Where(element => element.Name.LocalName == "PackageReference"))
        {
            if (reference.Attributes().Select(a => a.Name.LocalName).Concat(reference.Elements().Select(e => e.Name.LocalName)).Any(name => name is "Version" or "VersionOverride"))
                yield return $"{path}: {reference.Attribute("Include")?.Value} has a version of its own";
        }

        var versions = elements.Where(element => element.Name.LocalName is "PackageVersion" or "GlobalPackageReference").ToArray();
        foreach (var version in versions.Where(version => !ExactVersion().IsMatch(version.Attribute("Version")?.Value ?? "")))
            yield return $"{path}: {version.Attribute("Include")?.Value} has no exact version";
        foreach (var twice in versions.GroupBy(version => version.Attribute("Include")?.Value, StringComparer.OrdinalIgnoreCase).Where(group => group.Count() > 1))
            yield return $"{path}: {twice.Key} stands there twice";
    }

    [GeneratedRegex(@"^\d+(\.\d+){1,3}(-[0-9A-Za-z.-]+)?$")]
    private static partial Regex ExactVersion();
}
