using System.ComponentModel.DataAnnotations;
using FlashSale.Platform;
using Microsoft.AspNetCore.WebUtilities;
using Npgsql;

namespace FlashSale.Admin.Http;

/// <summary>How many files may come and go at once. Section <c>Transfers</c>.</summary>
public sealed class TransferOptions
{
    /// <summary>Most connections to Postgres for files and full counts, beside those of <c>Postgres:MaxPoolSize</c>.</summary>
    [Range(1, 100)]
    public int Connections { get; set; } = 4;

    /// <summary>Most uploads under way at once; each may take its whole size in the temporary folder.</summary>
    [Range(1, 1_000)]
    public int UploadsAtOnce { get; set; } = 32;

    /// <summary>Most downloads under way at once; each may take its whole size in the temporary folder.</summary>
    [Range(1, 1_000)]
    public int DownloadsAtOnce { get; set; } = 16;
}

/// <summary>
/// Files that come and go at the pace of their clients. Each goes through a temporary file, so that a slow client holds no connection
/// to Postgres, and those that files do need are apart from those of actions: whoever pauses a sale waits for no transfer.
/// </summary>
public sealed class Transfers : IAsyncDisposable
{
    private const int InMemory = 64 * 1024;
    private static readonly TimeSpan LongestUpload = TimeSpan.FromMinutes(15);

    private readonly SemaphoreSlim _uploads;
    private readonly SemaphoreSlim _downloads;

    /// <summary>Opens the pool. Does not connect yet.</summary>
    /// <param name="options">How much of it there may be.</param>
    /// <param name="postgres">Where Postgres is; its own copy, since this pool has another size.</param>
    /// <param name="applicationName">The host.</param>
    /// <param name="logger">Takes what its sessions have to tell.</param>
    public Transfers(TransferOptions options, PostgresOptions postgres, string applicationName, ILogger logger)
    {
        (_uploads, _downloads) = (new(options.UploadsAtOnce), new(options.DownloadsAtOnce));
        postgres.MaxPoolSize = options.Connections;
        Postgres = FlashSale.Platform.Postgres.CreateDataSource(postgres, applicationName, logger);
    }

    /// <summary>The connections for files and other work that takes long.</summary>
    public NpgsqlDataSource Postgres { get; }

    /// <summary>Takes a body to its end, and only then begins with it.</summary>
    /// <param name="context">The request.</param>
    /// <param name="take">Reads the body, which is all there.</param>
    public async Task<IResult> ReceiveAsync(HttpContext context, Func<Stream, Task<IResult>> take)
    {
        if (!_uploads.Wait(0)) return AdminProblems.Unavailable("Too many uploads are under way; repeat this one when others have ended.");
        try
        {
            context.Request.EnableBuffering(InMemory);
            await DrainAsync(context);
            context.Request.Body.Position = 0;
            return await take(context.Request.Body);
        }
        finally
        {
            _uploads.Release();
        }
    }

    /// <summary>Passes a stream on to the client, the source at its own pace.</summary>
    /// <param name="context">The request.</param>
    /// <param name="fill">Writes all of it into the spool, and lets go of what it needed for that.</param>
    /// <param name="begin">Sets the headers, when there is something to send.</param>
    public async Task<IResult> SendAsync(HttpContext context, Func<Spool, CancellationToken, Task> fill, Action<HttpResponse> begin)
    {
        if (!_downloads.Wait(0)) return AdminProblems.Unavailable("Too many downloads are under way; repeat this one when others have ended.");
        try
        {
            using var over = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
            using var spool = new Spool();
            var filling = spool.FillAsync(fill, over.Token);
            try
            {
                await spool.SendAsync(context.Response, begin, over.Token);
            }
            finally
            {
                await over.CancelAsync();
                // Its failure is told by the sending.
                await filling.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            return Results.Empty;
        }
        finally
        {
            _downloads.Release();
        }
    }

    /// <inheritdoc />
    public async ValueTask DisposeAsync()
    {
        await Postgres.DisposeAsync();
        _uploads.Dispose();
        _downloads.Dispose();
    }

    private static async Task DrainAsync(HttpContext context)
    {
        using var late = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        late.CancelAfter(LongestUpload);
        try
        {
            await context.Request.Body.DrainAsync(late.Token);
        }
        catch (OperationCanceledException e) when (!context.RequestAborted.IsCancellationRequested)
        {
            throw new BadHttpRequestException($"The upload took longer than {LongestUpload.TotalMinutes} minutes.", StatusCodes.Status408RequestTimeout, e);
        }
    }
}
