namespace FlashSale.Platform;

/// <summary>
/// The first figures that an operator of a slow process asks for: memory, collections, threads, processor time.
/// </summary>
internal static class RuntimeFigures
{
    public static void Write(PrometheusText text)
    {
        text.Single("process_resident_memory_bytes", "Memory of the process in RAM.", "gauge", Environment.WorkingSet);
        text.Single("process_cpu_seconds_total", "Processor time, user and system.", "counter", Environment.CpuUsage.TotalTime.TotalSeconds);
        text.Single("dotnet_gc_heap_bytes", "Bytes on the managed heap, garbage included.", "gauge", GC.GetTotalMemory(forceFullCollection: false));
        text.Single("dotnet_gc_allocated_bytes_total", "Bytes allocated since start.", "counter", GC.GetTotalAllocatedBytes());
        text.Single("dotnet_gc_pause_seconds_total", "Time all threads stood still for collections.", "counter", GC.GetTotalPauseDuration().TotalSeconds);
        text.Head("dotnet_gc_collections_total", "Collections by generation.", "counter");
        for (var generation = 0; generation <= GC.MaxGeneration; generation++)
            text.Sample("dotnet_gc_collections_total", PrometheusText.Label("generation", $"{generation}"), GC.CollectionCount(generation));
        text.Single("dotnet_threadpool_threads", "Threads of the pool.", "gauge", ThreadPool.ThreadCount);
        text.Single("dotnet_threadpool_queue_length", "Work items waiting for a thread.", "gauge", ThreadPool.PendingWorkItemCount);
        text.Single("dotnet_lock_contentions_total", "Times a thread waited for a lock.", "counter", Monitor.LockContentionCount);
    }
}
