using Dapper;

// The tests measure deadlines and kill processes on a machine of two cores, so only one class runs at a time.
[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>
/// A stack that the tests of one class share: <c>IClassFixture&lt;…&gt;</c> of a class derived from this.
/// </summary>
public abstract class StackFixture(StackOptions options) : IAsyncLifetime
{
    private Stack? _stack;

    public Stack Stack => _stack ?? throw new InvalidOperationException("The stack has not been started.");

    public virtual async ValueTask InitializeAsync() => _stack = await Stack.StartAsync(options);

    public virtual async ValueTask DisposeAsync()
    {
        if (_stack is not null) await _stack.DisposeAsync();
    }
}

/// <summary>One host of each kind.</summary>
public sealed class OneOfEach() : StackFixture(new StackOptions());

/// <summary>
/// The classes of this collection share one stack, since starting a stack costs as much as most of them do. A class has
/// a stack of its own if it counts the contents of the stack, breaks it for good, or measures the cost of its hosts.
/// </summary>
[CollectionDefinition]
public sealed class OnOneOfEach : ICollectionFixture<OneOfEach>;

/// <summary>Two Api nodes and two workers, so that no test passes only because one process remembers.</summary>
public sealed class TwoOfEach() : StackFixture(new StackOptions { Apis = 2, Workers = 2 });

/// <summary>A test on a stack. A failure shows the output of the hosts during the test.</summary>
public abstract class StackTest : IAsyncLifetime
{
    private const int ShownCharacters = 6_000;

    private readonly ITestOutputHelper _output;

    protected StackTest(StackFixture fixture, ITestOutputHelper output)
    {
        Stack = fixture.Stack;
        _output = output;
        foreach (var host in Stack.Hosts) host.Mark();
    }

    protected Stack Stack { get; }

    /// <summary>Writes a line that helps a reader of the result.</summary>
    protected void Tell(string text) => _output.WriteLine(text);

    /// <summary>Reads one value from the stack's Postgres.</summary>
    protected async Task<T> ScalarAsync<T>(string sql, object? arguments = null)
    {
        await using var connection = await Stack.Database.Source.OpenConnectionAsync();
        return (await connection.ExecuteScalarAsync<T>(sql, arguments))!;
    }

    /// <summary>Runs a statement in the stack's Postgres, past the product.</summary>
    protected async Task ExecuteAsync(string sql, object? arguments = null)
    {
        await using var connection = await Stack.Database.Source.OpenConnectionAsync();
        await connection.ExecuteAsync(sql, arguments);
    }

    public virtual ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public virtual ValueTask DisposeAsync()
    {
        foreach (var host in Stack.Hosts)
        {
            var text = host.OutputSinceMark;
            if (text.Length > 0) _output.WriteLine($"--- {host.Host} on port {host.Port}{(host.IsRunning ? "" : ", ended")}:\n{(text.Length > ShownCharacters ? "… " + text[^ShownCharacters..] : text)}");
        }
        return ValueTask.CompletedTask;
    }
}
