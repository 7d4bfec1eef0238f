using System.Text.RegularExpressions;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admin;

/// <summary>docs/managers.md does what it says.</summary>
[Collection<OnOneOfEach>]
public sealed partial class ManagersPageTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    [Fact]
    public async Task Every_command_of_the_managers_page_works_as_it_is_printed()
    {
        var page = await File.ReadAllTextAsync(Path.Combine(TestEnvironment.Repository, "docs/managers.md"));
        var blocks = Block().Matches(page).Select(match => match.Groups[1].Value).ToArray();
        Assert.True(blocks.Length >= 6, $"The page has {blocks.Length} blocks of commands.");
        var folder = Directory.CreateTempSubdirectory("managers-page-");
        try
        {
            folder.CreateSubdirectory(".local");
            await File.WriteAllTextAsync(Path.Combine(folder.FullName, ".local/env"),
                $"FLASHSALE_ADMIN_URL={Stack.Admin.Url.AbsoluteUri.TrimEnd('/')}\nFLASHSALE_ADMIN_TOKEN={Manager.OperatorToken}\n");
            // A refusal ends it, which curl alone would not.
            var script = Path.Combine(folder.FullName, "page.sh");
            await File.WriteAllTextAsync(script, $"set -euo pipefail; cd '{folder.FullName}'\ncurl() {{ command curl --fail-with-body \"$@\"; }}\n{string.Concat(blocks)}echo done\n");
            await using var process = await ChildProcess.StartAsync("the page", ["bash", script]);
            await Eventually.TrueAsync("the page has run", TimeSpan.FromSeconds(120), () => process.HasExited);
            var said = process.OutputSince(0);
            Assert.True(process.ExitCode == 0, said);
            foreach (var expected in (string[])
            [
                "{\"imported\":2}", "\"Black Friday\"", "{\"items\":3,\"units\":4500,\"epoch\":1}", "\"scheduled\"", "[\"paused\",\"manager\"]",
                "{\"stock\":3500,\"remaining\":3500}", "true", "\"closed\"", "\"sale.close\"", "[2,0,2,", "\"purchases-per-user\"", "done",
            ])
            {
                Assert.Contains(expected, said, StringComparison.Ordinal);
            }
        }
        finally
        {
            Folders.TryDelete(folder);
            Manager.Expect(200, await Stack.Manager.SendAsync(HttpMethod.Put, "/api/v1/ops/switches", new { level = (int?)null, reason = "a test" }));
        }
    }

    [GeneratedRegex(@"^```sh\n(.*?)^```$", RegexOptions.Multiline | RegexOptions.Singleline, matchTimeoutMilliseconds: 5_000)]
    private static partial Regex Block();
}
