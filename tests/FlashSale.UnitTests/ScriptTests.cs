using System.Text.RegularExpressions;
using FlashSale.UnitTests.Layout;

namespace FlashSale.UnitTests;

/// <summary>The shell scripts, as far as they can be read. scripts/test.sh, load.sh, chaos.sh and docs.sh run them.</summary>
public sealed partial class ScriptTests
{
    public static TheoryData<string> Scripts => [.. Repository.Files("scripts", "*.sh").Where(path => !path.StartsWith("scripts/lib/", StringComparison.Ordinal))];

    [Theory]
    [MemberData(nameof(Scripts))]
    public void No_function_replaces_another_of_the_same_name(string script)
    {
        var text = Repository.Read(script);
        var parts = PartsOfAll().Concat(Sourced().Matches(text).Select(match => match.Groups[1].Value)).Select(part => Repository.Read($"scripts/lib/{part}.sh"));
        Assert.Empty(Twice(parts.Append(text)));
    }

    [Fact]
    public void A_function_that_is_there_twice_is_caught() => Assert.Equal(["told"], Twice(["told() { :; }\n", "other() {\n}\ntold() {\n  :\n}\n"]));

    private static IEnumerable<string> Twice(IEnumerable<string> scripts) =>
        scripts.SelectMany(text => Function().Matches(text)).Select(match => match.Groups[1].Value).GroupBy(name => name).Where(group => group.Count() > 1).Select(group => group.Key);

    // Every script begins with these.
    private static string[] PartsOfAll()
    {
        var parts = Parts().Match(Repository.Read("scripts/lib/all.sh")).Groups[1].Value.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        Assert.Contains("common", parts);
        return parts;
    }

    [GeneratedRegex("^for part in (.*); do$", RegexOptions.Multiline)]
    private static partial Regex Parts();

    [GeneratedRegex(@"^\. ""\$LIB/([a-z-]+)\.sh""", RegexOptions.Multiline)]
    private static partial Regex Sourced();

    [GeneratedRegex(@"^([a-z_]+)\(\)", RegexOptions.Multiline)]
    private static partial Regex Function();
}
