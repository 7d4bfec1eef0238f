using System.Diagnostics;
using System.Runtime.InteropServices;
using FlashSale.LoadTests.Targets;

namespace FlashSale.LoadTests.Faults;

/// <summary>
/// Sends signals to processes by pid, reads their state from the kernel, and runs commands to their end.
/// </summary>
public static class Processes
{
    private const int Kill = 9;
    private const int Continue = 18;
    private const int Stop = 19;

    /// <summary>Returns whether the process exists and is no zombie.</summary>
    public static bool IsAlive(int pid) => ProcessStat.Read(pid) is { State: not ('Z' or 'X') };

    /// <summary>Returns whether SIGSTOP holds the process.</summary>
    public static bool IsFrozen(int pid) => ProcessStat.Read(pid) is { State: 'T' };

    /// <summary>
    /// Sends SIGKILL to a process and its children (a server's sessions may be processes of their own), and waits until
    /// all are gone. The parent dies first, so that it neither cleans up after its children nor starts others.
    /// </summary>
    /// <returns>Number of processes that were killed.</returns>
    public static async Task<int> KillAsync(int pid)
    {
        int[] all = [pid, .. ChildrenOf(pid)];
        foreach (var one in all) _ = Native.Kill(one, Kill);
        var clock = Stopwatch.StartNew();
        while (all.Any(IsAlive))
        {
            if (clock.Elapsed > TimeSpan.FromSeconds(20)) throw new TimeoutException($"Process {pid} or a child of it survives SIGKILL.");
            await Task.Delay(5);
        }
        return all.Length;
    }

    /// <summary>Sends SIGSTOP to a process and its children.</summary>
    /// <returns>The stopped processes, for <see cref="Thaw"/>.</returns>
    public static int[] Freeze(int pid)
    {
        _ = Native.Kill(pid, Stop);
        // The stopped parent starts no more children.
        int[] all = [pid, .. ChildrenOf(pid)];
        foreach (var one in all) _ = Native.Kill(one, Stop);
        return all;
    }

    /// <summary>Sends SIGCONT.</summary>
    public static void Thaw(IEnumerable<int> pids)
    {
        foreach (var pid in pids) _ = Native.Kill(pid, Continue);
    }

    /// <summary>Runs a command to its end.</summary>
    /// <returns>The output of the command. Empty if it was shown instead.</returns>
    /// <exception cref="InvalidOperationException">The command failed, or does not exist.</exception>
    public static async Task<string> RunAsync(IReadOnlyList<string> command, IReadOnlyDictionary<string, string>? environment = null, bool isShown = false)
    {
        var start = new ProcessStartInfo(command[0], command.Skip(1)) { RedirectStandardOutput = !isShown, RedirectStandardError = !isShown };
        foreach (var (name, value) in environment ?? new Dictionary<string, string>(StringComparer.Ordinal)) start.Environment[name] = value;
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new InvalidOperationException($"{command[0]} cannot be run: {e.Message}", e);
        }
        using (process)
        {
            var texts = isShown ? [] : await Task.WhenAll(process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
            await process.WaitForExitAsync();
            var text = string.Concat(texts);
            return process.ExitCode == 0 ? text : throw new InvalidOperationException($"{string.Join(' ', command)} ended with {process.ExitCode}: {text.Trim()}");
        }
    }

    private static IEnumerable<int> ChildrenOf(int pid) => ProcessStat.All().Where(process => process.Parent == pid).Select(process => process.Pid);

    private static class Native
    {
        [DllImport("libc", EntryPoint = "kill", SetLastError = true)]
        [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
        public static extern int Kill(int pid, int signal);
    }
}
