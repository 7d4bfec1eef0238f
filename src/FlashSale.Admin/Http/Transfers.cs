using System.ComponentModel.DataAnnotations;
using FlashSale.Platform;
using Microsoft.AspNetCore.WebUtilities;
using Npgsql;

namespace FlashSale.Admin.Http;

/// <summary>Bounds on uploads and downloads of files. Section <c>Transfers</c>.</summary>
public sealed class TransferOptions
{
    /// <summary>
    /// Most connections to Postgres for files and full counts, beside those of <c>Postgres:MaxPoolSize</c>.
    /// </summary>
    [Range(1, 100)]
    public int Connections { get; set; } = 4;

    /// <summary>Most uploads under way at once. Each may take its whole size in the temporary folder.</summary>
    [Range(1, 1_000)]
    public int UploadsAtOnce { get; set; } = 32;

    /// <summary>Most downloads under way at once. Each may take its whole size in the temporary folder.</summary>
    [Range(1, 1_000)]
    public int DownloadsAtOnce { get; set; } = 16;
}

/// <summary>
/// Uploads and downloads of files at the pace of their clients. Each file goes through a temporary file, so a slow
/// client holds no connection to Postgres. Files have connections of their own, so a manager that pauses a sale waits
/// for no transfer.
/// </summary>
public sealed class Transfers : IAsyncDisposable
{
    private const int InMemory = 64 * 1024;
    private static readonly TimeSpan LongestUpload = TimeSpan.FromMinutes(15);

    private readonly SemaphoreSlim _uploads;
    private readonly SemaphoreSlim _downloads;

    /// <summary>Opens the pool, without connecting yet.</summary>
    /// <param name="options">The bounds.</param>
    /// <param name="postgres">The settings of Postgres, in a copy of their own, because this pool has another
    /// size.</param>
    /// <param name="applicationName">The name of the host, for its sessions in Postgres.</param>
    /// <param name="logger">The log for messages of these sessions.</param>
    public Transfers(TransferOptions options, PostgresOptions postgres, string applicationName, ILogger logger)
    {
        (_uploads, _downloads) = (new(options.UploadsAtOnce), new(options.DownloadsAtOnce));
        postgres.MaxPoolSize = options.Connections;
        Postgres = FlashSale.Platform.Postgres.CreateDataSource(postgres, applicationName, logger);
    }

    /// <summary>Connections for files and other work that takes long.</summary>
    public NpgsqlDataSource Postgres { get; }

    /// <summary>
    /// Receives a body to its end, and only then processes it. 503 when too many uploads are under way.
    /// </summary>
    /// <param name="context">The request.</param>
    /// <param name="take">Processes the body, which is complete.</param>
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

    /// <summary>
    /// Sends a file to the client, while its source writes at its own pace. 503 when too many downloads are under way.
    /// </summary>
    /// <param name="context">The request.</param>
    /// <param name="fill">Writes all of the file into the spool, and then gives back everything that it needed for
    /// that.</param>
    /// <param name="begin">Sets the headers, as soon as there is something to send.</param>
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
                // The sending throws a failure of the filling.
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
