using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>
/// A process that the kernel kills when the test process ends, even if that one crashes. The signal is bound to the
/// thread that started the process, and pool threads come and go, so one thread that never ends starts all of them.
/// </summary>
public sealed class ChildProcess : IAsyncDisposable
{
    private const int KeptLines = 4_000;

    private static readonly BlockingCollection<Action> Starts = StartSpawner();

    private readonly Process _process;
    private readonly ConcurrentQueue<string> _output = new();
    private long _lines;

    private ChildProcess(string name, Process process)
    {
        Name = name;
        _process = process;
    }

    public string Name { get; }

    public int Id => _process.Id;

    public bool HasExited => _process.HasExited;

    public int ExitCode => _process.ExitCode;

    /// <summary>The number of lines written so far, a position for <see cref="OutputSince"/>.</summary>
    public long Position => Interlocked.Read(ref _lines);

    /// <param name="name">The name of the process in messages.</param>
    /// <param name="command">Program and arguments.</param>
    /// <param name="environment">Variables that are added to those of this process.</param>
    /// <param name="user">The user that runs the process when this process is root.</param>
    public static async Task<ChildProcess> StartAsync(string name, IEnumerable<string> command, IReadOnlyDictionary<string, string>? environment = null, string? user = null)
    {
        var start = new ProcessStartInfo("setpriv") { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = "/" };
        foreach (var argument in (string[])["--pdeathsig", "KILL"]) start.ArgumentList.Add(argument);
        if (user is not null && Environment.UserName == "root")
        {
            foreach (var argument in (string[])["--reuid", user, "--regid", user, "--init-groups"]) start.ArgumentList.Add(argument);
        }
        foreach (var argument in command) start.ArgumentList.Add(argument);
        foreach (var (key, value) in environment ?? new Dictionary<string, string>()) start.Environment[key] = value;

        var started = new TaskCompletionSource<Process>(TaskCreationOptions.RunContinuationsAsynchronously);
        Starts.Add(() =>
        {
            try
            {
                started.SetResult(Process.Start(start)!);
            }
            catch (Exception e)
            {
                started.SetException(e);
            }
        });
        var child = new ChildProcess(name, await started.Task);
        child._process.OutputDataReceived += (_, line) => child.Keep(line.Data);
        child._process.ErrorDataReceived += (_, line) => child.Keep(line.Data);
        child._process.BeginOutputReadLine();
        child._process.BeginErrorReadLine();
        return child;
    }

    /// <summary>Runs a program to its end.</summary>
    /// <returns>The output of the program.</returns>
    /// <exception cref="InvalidOperationException">The program failed.</exception>
    /// <exception cref="TimeoutException">The program took too long.</exception>
    public static async Task<string> RunAsync(string name, IEnumerable<string> command, IReadOnlyDictionary<string, string>? environment = null, string? user = null, int seconds = 60)
    {
        await using var child = await StartAsync(name, command, environment, user);
        var code = await child.ExitAsync(TimeSpan.FromSeconds(seconds));
        return code == 0 ? child.OutputSince(0) : throw new InvalidOperationException($"{name} ended with {code}: {child.OutputSince(0)}");
    }

    /// <summary>Waits for the end of the process and of its output.</summary>
    public async Task<int> ExitAsync(TimeSpan deadline)
    {
        using var timeout = new CancellationTokenSource(deadline);
        try
        {
            await _process.WaitForExitAsync(timeout.Token);
        }
        catch (OperationCanceledException e)
        {
            throw new TimeoutException($"{Name} has not ended within {deadline.TotalSeconds} s:\n{OutputSince(0)}", e);
        }
        return _process.ExitCode;
    }

    /// <summary>Sends SIGKILL and waits until the process is gone.</summary>
    public async Task KillAsync()
    {
        Signal(9);
        await ExitAsync(TimeSpan.FromSeconds(30));
    }

    /// <summary>
    /// Sends SIGTERM and waits until the process is gone. A frozen process is thawed, so that it gets the signal.
    /// </summary>
    public async Task<int> StopAsync(int signal = 15)
    {
        Signal(signal);
        Thaw();
        return await ExitAsync(TimeSpan.FromSeconds(40));
    }

    /// <summary>Sends SIGSTOP. The process keeps its sockets and answers nothing.</summary>
    public void Freeze() => Signal(19);

    /// <summary>Sends SIGCONT.</summary>
    public void Thaw() => Signal(18);

    /// <summary>The output since a position, at most the last 4,000 lines.</summary>
    public string OutputSince(long position)
    {
        var lines = _output.ToArray();
        var skip = Math.Max(0, position - (Position - lines.Length));
        return string.Join('\n', lines.Skip((int)skip));
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited) await KillAsync();
        _process.Dispose();
    }

    private static BlockingCollection<Action> StartSpawner()
    {
        var starts = new BlockingCollection<Action>();
        new Thread(() =>
        {
            foreach (var start in starts.GetConsumingEnumerable()) start();
        }) { IsBackground = true, Name = "starts child processes" }.Start();
        return starts;
    }

    private void Keep(string? line)
    {
        if (line is null) return;
        _output.Enqueue(line);
        Interlocked.Increment(ref _lines);
        if (_output.Count > KeptLines) _output.TryDequeue(out _);
    }

    private void Signal(int signal)
    {
        if (!_process.HasExited) _ = Native.Kill(_process.Id, signal);
    }

    private static class Native
    {
        [DllImport("libc", EntryPoint = "kill", SetLastError = true)]
        [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
        public static extern int Kill(int pid, int signal);
    }
}
