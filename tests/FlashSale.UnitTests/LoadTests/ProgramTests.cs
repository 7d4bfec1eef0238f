using System.Diagnostics;
using FlashSale.LoadTests.Engine;

namespace FlashSale.UnitTests.LoadTests;

/// <summary>Runs the program as a process, and checks its results as a shell or a CI job sees them.</summary>
public sealed class ProgramTests
{
    [Theory]
    [InlineData(ExitCode.Pass, "usage: FlashSale.LoadTests", "--help")]
    [InlineData(ExitCode.Pass, "| Postgres", "plan", "--visitors", "1000", "--window", "60", "--stock", "100")]
    [InlineData(ExitCode.Usage, "--window 0: must be a number from 1 to 604800", "plan", "--visitors", "1000", "--window", "0", "--stock", "100")]
    [InlineData(ExitCode.Usage, "FLASHSALE_ADMIN_URL is set neither in the environment nor in nowhere.env, which does not exist", "run", "spike", "--target", "http://127.0.0.1:1", "--env", "nowhere.env")]
    [InlineData(ExitCode.Usage, "FLASHSALE_API_URL is shop: it must be an http or https address", "run", "spike", "--target", "shop", "--env", "nowhere.env")]
    [InlineData(ExitCode.Usage, "unknown command: lode", "lode")]
    [InlineData(ExitCode.Usage, "a command is missing")]
    public async Task It_ends_with_the_code_that_says_how_it_went(int code, string said, params string[] args)
    {
        var start = new ProcessStartInfo("dotnet", [typeof(LoadRunner).Assembly.Location, .. args]) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        // The program must not find a stack that the tester happens to run.
        foreach (var name in start.Environment.Keys.Where(name => name.StartsWith("FLASHSALE_", StringComparison.Ordinal)).ToArray()) start.Environment.Remove(name);
        using var program = Process.Start(start)!;
        var (output, error) = (program.StandardOutput.ReadToEndAsync(), program.StandardError.ReadToEndAsync());
        await program.WaitForExitAsync();
        Assert.Contains(said, await output + await error);
        Assert.Equal(code, program.ExitCode);
    }
}
